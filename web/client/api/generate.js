// Writes the TypeScript types of the server's own documents into client/src/generated.
// With --check it writes nothing and fails if the committed types differ.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import openapiTS, { astToString } from 'openapi-typescript';
import { format, resolveConfig } from 'prettier';

const sources = import.meta.dirname;
const target = join(sources, '../src/generated');
const read = (name) => JSON.parse(readFileSync(join(sources, name), 'utf8'));

/** Leaves out web pages, and refusals: the SDK reads all of them as one type, and they are most of the document. */
function answersOf(document) {
  const isPage = ({ tags }) => tags?.includes('pages');
  const isAnswer = ([status]) => status < '400';
  const operations = Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item)
      .filter(([, operation]) => !isPage(operation))
      .map(([method, operation]) => {
        const answers = Object.entries(operation.responses).filter(isAnswer);
        return [path, method, { ...operation, responses: Object.fromEntries(answers) }];
      }),
  );
  const paths = {};
  for (const [path, method, operation] of operations) paths[path] = { ...paths[path], [method]: operation };
  return { ...document, paths };
}

/** AsyncAPI has JSON Schemas, as OpenAPI 3.1 does: each event's payload becomes a schema with the event's name. */
function asOpenApi({ info, components }) {
  const payloads = Object.entries(components.messages).map(([name, { summary, payload }]) => [
    name,
    { description: summary, ...payload },
  ]);
  return {
    openapi: '3.1.0',
    info,
    paths: {},
    components: { schemas: { ...components.schemas, ...Object.fromEntries(payloads) } },
  };
}

async function generate(source, document) {
  const path = join(target, source.replace('.json', '.ts'));
  const types = astToString(await openapiTS(document, { silent: true }));
  const text = `// Generated from api/${source} by \`npm run types\`. Do not edit.\n\n${types}`;
  return { path, text: await format(text, { ...(await resolveConfig(path)), parser: 'typescript' }) };
}

const files = [
  await generate('openapi.json', answersOf(read('openapi.json'))),
  await generate('asyncapi.json', asOpenApi(read('asyncapi.json'))),
];
if (process.argv.includes('--check')) {
  for (const { path } of files.filter(({ path, text }) => readFileSync(path, 'utf8') !== text)) {
    console.error(`${path} differs from the documents in client/api: run \`npm run types\``);
    process.exitCode = 1;
  }
} else {
  mkdirSync(target, { recursive: true });
  for (const { path, text } of files) writeFileSync(path, text);
}
