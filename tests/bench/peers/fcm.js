// firebase-admin as script/bench push drives it:
//   node fcm.js PORT PROJECT BODY PUSHES BATCHES
// It has no setting for the host, so http2.connect is led to the local server, and it sends the
// scheme as "https:", which Google takes and nghttp2 refuses, so that is put right. Its access token
// is a credential of our own, as the library allows. The certificate's authority comes in
// NODE_EXTRA_CA_CERTS.
'use strict';
const fs = require('fs');
const http2 = require('http2');
const measure = require('./measure.js');

const [port, projectId, bodyFile, pushes, atOnce] = process.argv.slice(2);
const connect = http2.connect;
http2.connect = (url, options) => {
  const session = connect(String(url).replace('fcm.googleapis.com', `127.0.0.1:${port}`), options);
  const request = session.request;
  session.request = (headers) => {
    headers[':scheme'] = 'https';
    return request.call(session, headers);
  };
  return session;
};

const { initializeApp } = require('firebase-admin/app');
const { getMessaging } = require('firebase-admin/messaging');

const access_token = process.env.LOA_BENCH_BEARER;
const messaging = getMessaging(initializeApp({
  projectId,
  credential: { getAccessToken: async () => ({ access_token, expires_in: 3600 }) },
}));
const { message } = JSON.parse(fs.readFileSync(bodyFile, 'utf8'));
// The library's own words for the same fields; milliseconds for the time to live.
const android = {
  priority: message.android.priority.toLowerCase(),
  ttl: parseInt(message.android.ttl, 10) * 1000,
  directBootOk: true,
};
const BATCH = 500; // the most that sendEach takes

measure({
  pushes: +pushes,
  batch: BATCH,
  atOnce: +atOnce,
  warmUp: Math.min(+pushes, 4000),
  async sendBatch(first, size) {
    const messages = [];
    for (let i = first; i < first + size; i++)
      messages.push({ token: message.token.slice(0, -8) + String(i).padStart(8, '0'), android, data: message.data });
    const { successCount, responses } = await messaging.sendEach(messages);
    if (successCount < size) console.error(responses.find((r) => !r.success).error.message);
    return successCount;
  },
});
