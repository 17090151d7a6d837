// The few figures that the console draws, of all that the engine tells of itself. What is not named stays inside.
import fs from 'fs';

const ABOUT = '/opt/weighbridge/console/about.json';
const LINE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?\s+(\S+)/;
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"/g;

// {metric: the labels that are shown with it}
function wanted(names) {
  const found = {};
  Object.keys(names).forEach((role) => {
    const name = names[role];
    if (name) found[name.metric || name] = name.labels || [];
  });
  return found;
}

function shown(text, names) {
  const metrics = wanted(names);
  const rows = [];
  text.split('\n').forEach((line) => {
    const match = LINE.exec(line);
    const labels = match && metrics[match[1]];
    if (!labels) return;
    const kept = [];
    (match[2] || '').replace(LABEL, (whole, name) => {
      if (labels.includes(name)) kept.push(whole);
      return whole;
    });
    rows.push(`${match[1]}{${kept.join(',')}} ${match[3]}\n`);
  });
  return rows.join('');
}

async function show(r) {
  const names = JSON.parse(fs.readFileSync(ABOUT, 'utf8')).metrics;
  if (!names) return r.return(404);
  const reply = await r.subrequest('/_/metrics', { method: 'GET' });
  if (reply.status !== 200) return r.return(503);
  r.headersOut['Content-Type'] = 'text/plain';
  r.return(200, shown(reply.responseText, names));
}

export default { show };
