/** What a file is, by its name's extension, and whether compressing it is worth it. */

const utf8 = "; charset=utf-8";

/** Text and what is like it: there may be a compressed file beside it. */
const compressible: Readonly<Record<string, string>> = {
  atom: `application/atom+xml${utf8}`,
  css: `text/css${utf8}`,
  csv: `text/csv${utf8}`,
  eot: "application/vnd.ms-fontobject",
  geojson: `application/geo+json${utf8}`,
  htm: `text/html${utf8}`,
  html: `text/html${utf8}`,
  ico: "image/x-icon",
  ics: `text/calendar${utf8}`,
  js: `text/javascript${utf8}`,
  json: `application/json${utf8}`,
  map: `application/json${utf8}`,
  md: `text/markdown${utf8}`,
  mjs: `text/javascript${utf8}`,
  otf: "font/otf",
  rdf: `application/rdf+xml${utf8}`,
  rss: `application/rss+xml${utf8}`,
  svg: `image/svg+xml${utf8}`,
  ttf: "font/ttf",
  txt: `text/plain${utf8}`,
  vcf: `text/vcard${utf8}`,
  vtt: `text/vtt${utf8}`,
  wasm: "application/wasm",
  webmanifest: `application/manifest+json${utf8}`,
  xhtml: `application/xhtml+xml${utf8}`,
  xml: `application/xml${utf8}`,
  xsl: `application/xml${utf8}`,
  yaml: `application/yaml${utf8}`,
  yml: `application/yaml${utf8}`,
};

const asItIs: Readonly<Record<string, string>> = {
  "7z": "application/x-7z-compressed",
  aac: "audio/aac",
  apng: "image/apng",
  avif: "image/avif",
  bmp: "image/bmp",
  br: "application/x-brotli",
  bz2: "application/x-bzip2",
  doc: "application/msword",
  docx: "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
  epub: "application/epub+zip",
  flac: "audio/flac",
  gif: "image/gif",
  gz: "application/gzip",
  jpeg: "image/jpeg",
  jpg: "image/jpeg",
  jxl: "image/jxl",
  m4a: "audio/mp4",
  m4v: "video/mp4",
  mov: "video/quicktime",
  mp3: "audio/mpeg",
  mp4: "video/mp4",
  ods: "application/vnd.oasis.opendocument.spreadsheet",
  odt: "application/vnd.oasis.opendocument.text",
  oga: "audio/ogg",
  ogg: "audio/ogg",
  ogv: "video/ogg",
  opus: "audio/ogg",
  pdf: "application/pdf",
  png: "image/png",
  ppt: "application/vnd.ms-powerpoint",
  pptx: "application/vnd.openxmlformats-officedocument.presentationml.presentation",
  swf: "application/x-shockwave-flash",
  tar: "application/x-tar",
  tgz: "application/gzip",
  tif: "image/tiff",
  tiff: "image/tiff",
  wav: "audio/wav",
  weba: "audio/webm",
  webm: "video/webm",
  webp: "image/webp",
  woff: "font/woff",
  woff2: "font/woff2",
  xls: "application/vnd.ms-excel",
  xlsx: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
  xz: "application/x-xz",
  zip: "application/zip",
  zst: "application/zstd",
};

export interface MediaType {
  /** For Content-Type. */
  readonly name: string;
  readonly compressible: boolean;
}

const unknown: MediaType = { name: "application/octet-stream", compressible: false };

const types = new Map<string, MediaType>([
  ...entries(compressible, true),
  ...entries(asItIs, false),
]);

function entries(
  names: Readonly<Record<string, string>>,
  isCompressible: boolean,
): [string, MediaType][] {
  return Object.entries(names).map(([extension, name]) => [
    extension,
    { name, compressible: isCompressible },
  ]);
}

/** The type of a file by its name; what is not known is bytes. */
export function mediaTypeOf(name: string): MediaType {
  const dot = name.lastIndexOf(".");
  if (dot <= name.lastIndexOf("/")) return unknown;
  return types.get(name.slice(dot + 1).toLowerCase()) ?? unknown;
}
