// What a client sent as its key, as sha256: the gateway holds hashes only, and looks them up in a hash table.
import crypto from 'crypto';

function sha256(r) {
  const said = /^Bearer +([!-~]{1,256})$/i.exec(r.headersIn.Authorization || '');
  return said ? crypto.createHash('sha256').update(said[1]).digest('hex') : '';
}

export default { sha256 };
