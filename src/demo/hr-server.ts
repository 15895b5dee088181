/**
 * A small, real MCP server for `sworn demo`: an HR department with invented people. It keeps time-off requests in memory and knows nothing of sworn.
 */
import { McpServer, type CallToolResult } from '@modelcontextprotocol/server';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import * as z from 'zod';

interface Employee {
  readonly id: string;
  readonly name: string;
  readonly department: string;
  readonly role: string;
  readonly salaryEur: number;
}

const employees: readonly Employee[] = [
  { id: 'e-101', name: 'Ada Okafor', department: 'Engineering', role: 'Principal engineer', salaryEur: 128_000 },
  { id: 'e-102', name: 'Jonas Lindqvist', department: 'Engineering', role: 'Engineer', salaryEur: 84_000 },
  { id: 'e-103', name: 'Mei Tanaka', department: 'Engineering', role: 'Engineer', salaryEur: 88_500 },
  { id: 'e-201', name: 'Rosa Alvarez', department: 'Finance', role: 'Head of finance', salaryEur: 119_000 },
  { id: 'e-202', name: 'Peter Novak', department: 'Finance', role: 'Accountant', salaryEur: 61_000 },
];

const rulebook = `Rulebook, section 4: pay.
4.1 Pay may be read by the employee, by the employee's manager, and by HR.
4.2 Whoever reads the pay of another department states the reason beforehand.
4.3 Every reading of pay is recorded and kept for six years.`;

const text = (value: unknown): CallToolResult => ({ content: [{ type: 'text', text: typeof value === 'string' ? value : JSON.stringify(value) }] });
const unknownEmployee = (id: string): CallToolResult => ({ ...text(`no employee ${id}`), isError: true });
const withoutPay = ({ id, name, department, role }: Employee) => ({ id, name, department, role });
const employeeId = z.object({ id: z.string().describe('employee id, for example e-101') });
const reads = { readOnlyHint: true, openWorldHint: false };

function hrServer(): McpServer {
  const server = new McpServer({ name: 'hr', version: '1.0.0' });

  server.registerTool(
    'search_employees',
    { description: 'Find employees by name, role or department', inputSchema: z.object({ query: z.string() }), annotations: reads },
    ({ query }) => {
      const wanted = query.toLowerCase();
      return text(employees.filter((one) => `${one.name} ${one.department} ${one.role}`.toLowerCase().includes(wanted)).map(withoutPay));
    },
  );
  server.registerTool('get_employee', { description: 'One employee, without pay', inputSchema: employeeId, annotations: reads }, ({ id }) => {
    const found = employees.find((one) => one.id === id);
    return found ? text(withoutPay(found)) : unknownEmployee(id);
  });
  server.registerTool('get_pay_info', { description: 'What an employee earns', inputSchema: employeeId, annotations: reads }, ({ id }) => {
    const found = employees.find((one) => one.id === id);
    return found ? text({ id, name: found.name, salaryEur: found.salaryEur }) : unknownEmployee(id);
  });
  server.registerTool('read_rulebook', { description: 'The compliance rulebook', inputSchema: z.object({}), annotations: reads }, () =>
    text(rulebook),
  );

  let requests = 0;
  server.registerTool(
    'submit_time_off',
    {
      description: 'Ask for days off',
      inputSchema: z.object({ id: z.string(), from: z.string(), until: z.string() }),
      annotations: { readOnlyHint: false, destructiveHint: false, idempotentHint: false, openWorldHint: false },
    },
    ({ id, from, until }) => {
      if (!employees.some((one) => one.id === id)) return unknownEmployee(id);
      requests += 1;
      return text({ request: `t-${requests}`, id, from, until, state: 'submitted' });
    },
  );
  return server;
}

serveStdio(hrServer);
