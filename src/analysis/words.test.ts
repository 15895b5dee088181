import { expect, test } from 'vitest';
import { nounOfTool, nounsOf, singular, wordsOf } from './words.ts';

test.each([
  ['employeeId', 'employee id'],
  ['employee_id', 'employee id'],
  ['Employee-ID', 'employee id'],
  ['userIDs', 'user ids'],
  ['HTTPServerURL', 'http server url'],
  ['width', 'width'],
  ['video', 'video'],
  ['päckchenNummer', 'päckchen nummer'],
])('%s', (name, words) => {
  expect(wordsOf(name).join(' ')).toBe(words);
});

test('one of many', () => {
  expect(['employees', 'companies', 'addresses', 'boxes', 'status', 'bus', 'analysis', 'id'].map(singular)).toEqual([
    'employee',
    'company',
    'address',
    'box',
    'status',
    'bus',
    'analysis',
    'id',
  ]);
});

test.each([
  ['search_employees', 'employee'],
  ['get_employee', 'employee'],
  ['getEmployeeDetails', 'employee'],
  ['get_time_off_requests', 'time_off_request'],
  ['find-order-by-id', 'order'],
  ['list', undefined],
  ['get_info', undefined],
])('%s is about %s', (tool, noun) => {
  expect(nounOfTool(tool)).toBe(noun);
});

test('what a parameter is the id of stands in its description', () => {
  const described = (description: string): unknown => nounsOf({ properties: { id: { type: 'string', description } } })['id'];
  expect(described('employee id, for example e-101')).toBe('employee');
  expect(described('ID of the orders')).toBe('order');
  expect(described('The unique identifier of a customer')).toBe('customer');
  expect(described('a unique id')).toBeUndefined();
  expect(nounsOf({ properties: { width: { description: 'employee id' } } })).toEqual({});
});
