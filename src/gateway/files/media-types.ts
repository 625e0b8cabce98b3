/** What a file is, by its name's extension, and whether compressing it is worth it. */

/** Text and what is like it: there may be a compressed file beside it. */
const compressible = typesOf(
  true,
  "application/atom+xml atom, application/geo+json geojson, application/json json map",
  "application/manifest+json webmanifest, application/rdf+xml rdf, application/rss+xml rss",
  "application/vnd.ms-fontobject eot, application/wasm wasm, application/xhtml+xml xhtml",
  "application/xml xml xsl, application/yaml yaml yml, font/otf otf, font/ttf ttf",
  "image/svg+xml svg, image/x-icon ico, text/calendar ics, text/css css, text/csv csv",
  "text/html htm html, text/javascript js mjs, text/markdown md, text/plain txt, text/vcard vcf",
  "text/vtt vtt",
);

const asItIs = typesOf(
  false,
  "application/epub+zip epub, application/gzip gz tgz, application/msword doc",
  "application/pdf pdf, application/vnd.ms-excel xls, application/vnd.ms-powerpoint ppt",
  "application/vnd.oasis.opendocument.spreadsheet ods",
  "application/vnd.oasis.opendocument.text odt",
  "application/vnd.openxmlformats-officedocument.presentationml.presentation pptx",
  "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet xlsx",
  "application/vnd.openxmlformats-officedocument.wordprocessingml.document docx",
  "application/x-7z-compressed 7z, application/x-brotli br, application/x-bzip2 bz2",
  "application/x-shockwave-flash swf, application/x-tar tar, application/x-xz xz",
  "application/zip zip, application/zstd zst, audio/aac aac, audio/flac flac, audio/mp4 m4a",
  "audio/mpeg mp3, audio/ogg oga ogg opus, audio/wav wav, audio/webm weba, font/woff woff",
  "font/woff2 woff2, image/apng apng, image/avif avif, image/bmp bmp, image/gif gif",
  "image/jpeg jpeg jpg, image/jxl jxl, image/png png, image/tiff tif tiff, image/webp webp",
  "video/mp4 m4v mp4, video/ogg ogv, video/quicktime mov, video/webm webm",
);

export interface MediaType {
  /** For Content-Type. */
  readonly name: string;
  readonly compressible: boolean;
}

const unknown: MediaType = { name: "application/octet-stream", compressible: false };

const types = new Map<string, MediaType>([...compressible, ...asItIs]);

/** @param lists of types, each with its extensions. Texts are UTF-8. */
function typesOf(isCompressible: boolean, ...lists: readonly string[]): [string, MediaType][] {
  return lists
    .flatMap((list) => list.split(", "))
    .flatMap((entry) => {
      const [type = "", ...extensions] = entry.split(" ");
      const isText = /^text\/|(?:xml|json|yaml)$/.test(type);
      const name = isText ? `${type}; charset=utf-8` : type;
      return extensions.map((extension): [string, MediaType] => {
        return [extension, { name, compressible: isCompressible }];
      });
    });
}

/** The type of a file by its name; what is not known is bytes. */
export function mediaTypeOf(name: string): MediaType {
  const dot = name.lastIndexOf(".");
  if (dot <= name.lastIndexOf("/")) return unknown;
  return types.get(name.slice(dot + 1).toLowerCase()) ?? unknown;
}
