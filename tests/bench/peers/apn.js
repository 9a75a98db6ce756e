// @parse/node-apn as script/bench push drives it:
//   node apn.js PORT KEY.p8 BODY TOKENS PUSHES CLIENTS BATCHES BATCH
// TOKENS: a file, one a line. The certificate's authority comes in NODE_EXTRA_CA_CERTS.
'use strict';
const fs = require('fs');
const apn = require('@parse/node-apn');
const measure = require('./measure.js');

const [port, key, bodyFile, tokenFile, pushes, clients, atOnce, batch] = process.argv.slice(2);
const tokens = fs.readFileSync(tokenFile, 'utf8').trim().split('\n');
const provider = new apn.MultiProvider({
  token: { key, keyId: 'LOASIMKEY1', teamId: 'LOASIMTEAM' },
  address: '127.0.0.1',
  port: +port,
  clientCount: +clients,
  production: true,
});

const note = new apn.Notification();
note.rawPayload = JSON.parse(fs.readFileSync(bodyFile, 'utf8'));
note.topic = 'vn.gov.caobang.congdanso';
note.pushType = 'alert';
note.priority = 10;
note.expiry = 4000000000;
note.collapseId = '20261123-K7M2QX';

measure({
  pushes: +pushes,
  batch: +batch,
  atOnce: +atOnce,
  warmUp: Math.min(+pushes, 5000),
  async sendBatch(first, size) {
    const to = [];
    for (let i = first; i < first + size; i++) to.push(tokens[i % tokens.length]);
    const { sent, failed } = await provider.send(note, to);
    if (failed.length > 0) console.error(String(failed[0].error ?? JSON.stringify(failed[0])));
    return sent.length;
  },
});
