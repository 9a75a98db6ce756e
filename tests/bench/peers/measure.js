// Common to the push peers: sends in batches, some at the same time, until N are answered; prints
// rate and CPU of the whole process (all threads) from the first push to the last answer. Warm-up
// pushes before that give the JIT its chance.
'use strict';

// sendBatch(first, size) → number of accepted pushes.
module.exports = async function measure({ pushes, batch, atOnce, warmUp, sendBatch }) {
  let next, end, accepted;
  const worker = async () => {
    while (next < end) {
      const first = next;
      const size = Math.min(batch, end - first);
      next += size;
      const taken = await sendBatch(first, size);
      accepted += taken;
    }
  };
  const round = async (from, to) => {
    [next, end, accepted] = [from, to, 0];
    await Promise.all(Array.from({ length: atOnce }, worker));
    return to - from - accepted;
  };

  await round(0, warmUp);
  const begin = process.hrtime.bigint();
  const before = process.cpuUsage();
  const failed = await round(0, pushes);
  const wall = Number(process.hrtime.bigint() - begin) / 1e9;
  const used = process.cpuUsage(before);
  console.log(JSON.stringify({
    pushes,
    failed,
    seconds: +wall.toFixed(3),
    per_s: Math.round(pushes / wall),
    cpu_s_per_million: +((used.user + used.system) / pushes).toFixed(3),
  }));
  process.exit(failed > 0 ? 1 : 0);
};
