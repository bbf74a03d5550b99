// memlab.js - what memlab makes of a converted snapshot, against what oakum says: for check-memlab.
const fs = require('fs');
const {getFullHeapFromFile} = require('@memlab/heap-analysis');

(async () => {
  const [file, infoFile, topFile] = process.argv.slice(2);
  const heap = await getFullHeapFromFile(file);
  const info = JSON.parse(fs.readFileSync(infoFile));
  const top = JSON.parse(fs.readFileSync(topFile));
  const roots = heap.getNodeById(3);
  if (!roots || roots.name !== '(GC roots)') throw new Error('no node of the roots');
  const groups = roots.edge_count, first = 2 * (groups + 2) + 1;
  let nodes = 0;
  heap.nodes.forEach(() => nodes++);
  if (nodes !== info.objects + groups + 2) throw new Error(`${nodes} nodes, ${info.objects} objects`);
  for (const o of top) {
    const granule = Number((BigInt(o.address) - BigInt(info.heap_base)) / 16n);
    const node = heap.getNodeById(first + 2 * granule);
    if (!node) throw new Error(`no node for ${o.address}`);
    if (node.self_size !== o.size || node.retainedSize !== o.retained)
      throw new Error(`${o.address} ${o.type}: ${node.self_size} retains ${node.retainedSize}, not ` +
                      `${o.size}, ${o.retained}`);
  }
  let keys = 0, map = null;
  heap.nodes.forEach(node => {
    if (node.name === 'oak_map') map = node;
    node.forEachReference(edge => { if (edge.name_or_index === '"key \\"7\\""') keys++; });
  });
  if (!map || map.pathEdge === undefined) throw new Error('no map, or no path to it');
  if (keys !== 2) throw new Error(`the entry of a key has ${keys} edges, not 2`);
  console.log(`memlab: ${nodes} nodes, ${top.length} retained sizes as oakum's`);
})().catch(e => { console.error(`check-memlab: ${e.message}`); process.exit(1); });
