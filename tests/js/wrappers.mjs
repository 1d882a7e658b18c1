// Says of each text whether `decode` makes a value of it or leaves a document: { text, document } a case, by file.
import fs from "node:fs";
import { decode } from "mongo-realtime";

const isDocument = (value) => typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
const cases = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));
const wrong = cases.filter(({ text, document }) => isDocument(decode(JSON.parse(text))) !== document);
const lost = cases.filter(({ text, document }) => document && JSON.stringify(decode(JSON.parse(text))) !== JSON.stringify(JSON.parse(text)));
console.log(JSON.stringify({ cases: cases.length, wrong: wrong.slice(0, 10), lost: lost.filter(({ text }) => !/\$(number|date)/.test(text)).slice(0, 10) }));
