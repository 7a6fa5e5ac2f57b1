// A ZIP file of files that are compressed already: stored as they are (APPNOTE.TXT 6.3.10).

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit += 1) byte = byte & 1 ? (byte >>> 1) ^ 0xedb88320 : byte >>> 1;
  return byte;
});
const UTF8 = 0x0800;
const VERSION = 20;

/** Returns a Blob with these files, [{blob, name}]; where names repeat, they get numbers. Up to 4 GB in all. */
export async function zip(files) {
  const parts = [];
  const directory = [];
  const taken = new Set();
  const stamp = now();
  let offset = 0;
  for (const { blob, name } of files) {
    const path = new TextEncoder().encode(free(name, taken));
    const crc = await checksum(blob);
    const common = [
      [2, VERSION], [2, UTF8], [2, 0], [4, stamp], [4, crc], [4, blob.size], [4, blob.size], [2, path.length], [2, 0],
    ];
    const head = record([[4, 0x04034b50], ...common]);
    parts.push(head, path, blob);
    directory.push(
      record([[4, 0x02014b50], [2, VERSION], ...common, [2, 0], [2, 0], [2, 0], [4, 0], [4, offset]]), path,
    );
    offset += head.length + path.length + blob.size;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const end = record([
    [4, 0x06054b50], [2, 0], [2, 0], [2, files.length], [2, files.length], [4, size], [4, offset], [2, 0],
  ]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

/** Numbers as bytes, little end first: fields are [bytes, value]. */
function record(fields) {
  return Uint8Array.from(
    fields.flatMap(([bytes, value]) => Array.from({ length: bytes }, (_, place) => (value >>> (8 * place)) & 255)),
  );
}

async function checksum(blob) {
  let crc = 0xffffffff;
  for (const byte of new Uint8Array(await blob.arrayBuffer())) crc = (crc >>> 8) ^ TABLE[(crc ^ byte) & 255];
  return (crc ^ 0xffffffff) >>> 0;
}

function free(name, taken) {
  const dot = name.lastIndexOf(".");
  const [stem, suffix] = dot > 0 ? [name.slice(0, dot), name.slice(dot)] : [name, ""];
  let path = name;
  for (let number = 2; taken.has(path.toLowerCase()); number += 1) path = `${stem}-${number}${suffix}`;
  taken.add(path.toLowerCase());
  return path;
}

/** The time as MS-DOS wrote it: the date in the upper half, two seconds a unit. */
function now() {
  const d = new Date();
  const date = ((d.getFullYear() - 1980) << 9) | ((d.getMonth() + 1) << 5) | d.getDate();
  return ((date << 16) | (d.getHours() << 11) | (d.getMinutes() << 5) | (d.getSeconds() >> 1)) >>> 0;
}
