// Whose key a client sent: a file a key, named by its hash, holds the name. It looks at each request, so that keys come
// and go without a reload, which would close connections that wait for their next request.
import crypto from 'crypto';
import fs from 'fs';

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;
const UNKNOWN = '!'; // no name is spelt so: the look itself failed, which says nothing about the key

function sha256(r) {
  const said = /^Bearer +([!-~]{1,256})$/i.exec(r.headersIn.Authorization || '');
  return said ? crypto.createHash('sha256').update(said[1]).digest('hex') : '';
}

function holder(r, scope) {
  const digest = sha256(r);
  if (!digest) {
    return '';
  }
  try {
    const name = fs.readFileSync(`/run/weighbridge/${scope}/${digest}`, 'utf8');
    if (NAME.test(name)) {
      return name;
    }
    r.error(`keys: ${scope}: a file holds no name`);
  } catch (e) {
    if (e.code === 'ENOENT') {
      return '';
    }
    r.error(`keys: ${scope}: ${e.code || e.message}`); // gateway.py lets one a second through
  }
  return UNKNOWN;
}

function api(r) {
  return holder(r, 'api');
}

function metrics(r) {
  return holder(r, 'metrics');
}

export default { api, metrics };
