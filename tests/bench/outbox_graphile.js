// graphile-worker beside bench_outbox: the same commands on the same server, a task that does
// nothing. Usage: node outbox_graphile.js PACKAGE HOST DATABASE setup|enqueue|drain N
// The options are those of its page "Performance"; releases before 0.17 know no batching and take
// the others only.
'use strict';
const [name, host, database, command, count] = process.argv.slice(2);
const { makeWorkerUtils, run } = require(name);
const { Pool } = require('pg');
const n = Number(count);
const BATCH = 1000; // rows of one transaction, as bench_outbox

function stopwatch() {
  const since = process.hrtime.bigint();
  const cpu = process.cpuUsage();
  return () => {
    const { user, system } = process.cpuUsage(cpu);
    const ms = Number(process.hrtime.bigint() - since) / 1e6;
    console.log(JSON.stringify({ ms, cpu_ms: (user + system) / 1e3 }));
  };
}

async function setup(pgPool) {
  const utils = await makeWorkerUtils({ pgPool });
  await utils.migrate();
  await utils.release();
}

async function enqueue(pgPool) {
  const utils = await makeWorkerUtils({ pgPool });
  const done = stopwatch();
  for (let from = 0; from < n; from += BATCH) {
    const jobs = [];
    for (let i = from; i < Math.min(n, from + BATCH); i++)
      jobs.push({
        identifier: 'push',
        jobKey: `case:${i}:result:1`,
        payload: {
          device: 1 + i,
          title: 'Kết quả xử lý',
          body: 'Phản ánh đã được giải quyết.',
        },
      });
    if (utils.addJobs) await utils.addJobs(jobs);
    else await insertJobs(pgPool, jobs);
  }
  done();
  await utils.release();
}

// Before 0.17 the bulk insert is a function of the database only.
async function insertJobs(pgPool, jobs) {
  await pgPool.query(
    `select count(*) from graphile_worker.add_jobs(array(
       select json_populate_record(null::graphile_worker.job_spec, s)
       from json_array_elements($1::json) s))`,
    [
      JSON.stringify(
        jobs.map((j) => ({ identifier: j.identifier, payload: j.payload, job_key: j.jobKey })),
      ),
    ],
  );
}

async function drain(pgPool) {
  let left = n;
  let finished;
  const last = new Promise((resolve) => (finished = resolve));
  const done = stopwatch();
  const runner = await run({
    pgPool,
    noHandleSignals: true,
    taskList: {
      push: async () => {
        if (--left === 0) finished();
      },
    },
    preset: {
      worker: {
        concurrentJobs: 24,
        localQueue: { size: 500 },
        completeJobBatchDelay: 0,
        failJobBatchDelay: 0,
      },
    },
  });
  await last;
  await runner.stop(); // writes what is not yet completed
  done();
  const { rows } = await pgPool.query('select count(*)::int as n from graphile_worker.jobs');
  if (rows[0].n !== 0) throw new Error(`${rows[0].n} jobs are left`);
}

async function main() {
  const pgPool = new Pool({ host, database, user: 'loa', max: 25 });
  process.env.NO_LOG_SUCCESS = '1';
  await { setup, enqueue, drain }[command](pgPool);
  await pgPool.end();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
