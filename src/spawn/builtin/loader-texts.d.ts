/** Files of loaders in other languages than TypeScript, which are imported as text. */
declare module "*.cjs" {
  const text: string;
  export default text;
}

declare module "*.py" {
  const text: string;
  export default text;
}
declare module "*.rb" {
  const text: string;
  export default text;
}

declare module "*.c" {
  const text: string;
  export default text;
}
