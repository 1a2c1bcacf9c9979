// Prints the rows of a query, an object a line.
import { DuckDBInstance } from '@duckdb/node-api';

const connection = await (await DuckDBInstance.create(':memory:')).connect();
const result = await connection.runAndReadAll(process.argv[2]);
for (const row of result.getRowObjectsJson()) console.log(JSON.stringify(row));
