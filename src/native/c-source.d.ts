/** C that is compiled at run time, as text. */
declare module "*.c" {
  const source: string;
  export default source;
}
