#!/usr/bin/env node
// Starts the right program of dist/: the tap, the recorder, or the command line.
// Old syntax up to the version check, and only node: imports that old versions know, so that an old Node says what is wrong instead of failing to parse.
import { spawn } from 'node:child_process';
import { existsSync, lstatSync, mkdirSync } from 'node:fs';
import * as nodeModule from 'node:module';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

var here = dirname(fileURLToPath(import.meta.url));
var argv = process.argv.slice(2);

var version = process.versions.node.split('.');
if (Number(version[0]) > 22 || (Number(version[0]) === 22 && Number(version[1]) >= 19)) {
  cacheCode();
  start();
} else {
  startWithNewerNode();
}

function start() {
  var name = 'cli';
  if (argv[0] === 'run' && argv[1] !== '--help' && argv[1] !== '-h') name = 'run';
  else if (
    argv[0] === 'recorder' &&
    argv[1] === 'start' &&
    (argv.includes('--daemon') || argv.includes('--foreground')) &&
    !argv.includes('--help') &&
    !argv.includes('-h')
  )
    name = 'recorder';
  else if (argv[0] === 'proxy' && !argv.includes('--help') && !argv.includes('-h')) name = 'proxy';
  var program = join(here, '..', 'dist', name + '.mjs');
  if (!existsSync(program)) {
    console.error('sworn: error: ' + visible(program) + ' is missing');
    console.error('sworn: hint: in a checkout run: npm ci');
    process.exitCode = 1;
    return;
  }
  // The tap takes its own words after `run`, the proxy behind `proxy`; so does the recorder after `recorder start`.
  var own = name === 'run' || name === 'proxy' ? argv.slice(1) : name === 'recorder' ? argv.slice(2) : argv;
  import('../dist/' + name + '.mjs')
    .then(function (module) {
      return module.main(own);
    })
    .then(function (status) {
      if (typeof status === 'number') process.exitCode = status;
    })
    .catch(function (error) {
      var known = error && error.name === 'SwornError';
      console.error('sworn: error: ' + (known ? visible(error.message) : visible(error && error.stack ? error.stack : error, true)));
      console.error('sworn: hint: ' + (known ? visible(error.hint) : 'this is a defect of sworn: please report it with the text above'));
      process.exitCode = known ? error.exit : 70;
    });
}

// Paths and names come from others, and must not steer a terminal. What is loaded from dist/ has more of this; here it may be that which is missing.
function visible(text, severalLines) {
  return String(text).replace(/[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g, function (character) {
    if (severalLines && character === '\n') return character;
    return '\\u{' + character.charCodeAt(0).toString(16) + '}';
  });
}

// Compiled code that another account could write would run as this one: only a folder of our own with mode 0700 will do. Without it we start a little slower.
function cacheCode() {
  if (process.platform === 'win32' || typeof process.getuid !== 'function' || typeof nodeModule.enableCompileCache !== 'function') return;
  try {
    var home = homedir();
    var folder = join(home, '.cache', 'sworn', 'compile');
    mkdirSync(folder, { recursive: true, mode: 448 });
    var folders = [folder, join(home, '.cache', 'sworn')];
    for (var i = 0; i < folders.length; i++) {
      var stat = lstatSync(folders[i]);
      if (!stat.isDirectory() || stat.uid !== process.getuid() || (stat.mode & 63) !== 0) return;
    }
    nodeModule.enableCompileCache(folder);
  } catch {
    // no home that can be written
  }
}

// A checkout brings its own Node as a development dependency.
function startWithNewerNode() {
  var own = join(here, '..', 'node_modules', 'node', 'bin', process.platform === 'win32' ? 'node.exe' : 'node');
  if (!existsSync(own)) {
    console.error('sworn: error: Node ' + process.versions.node + ' is too old: sworn needs Node 22.19 or newer');
    process.exitCode = 1;
    return;
  }
  // the recorder reads the command line of a tap's parent: what `--url` and `--header` hold in confidence is not for it
  if (argv[0] === 'run') process.title = 'sworn run';
  var child = spawn(own, [fileURLToPath(import.meta.url)].concat(argv), { stdio: 'inherit' });
  var signals = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR2'];
  signals.forEach(function (signal) {
    try {
      process.on(signal, function () {
        child.kill(signal);
      });
    } catch {
      // not on this platform
    }
  });
  child.on('error', function (error) {
    console.error('sworn: error: ' + visible(own) + ' cannot be started: ' + visible(error.message));
    process.exitCode = 1;
  });
  child.on('exit', function (status, signal) {
    if (signal) {
      process.removeAllListeners(signal);
      process.kill(process.pid, signal);
    } else {
      process.exitCode = status;
    }
  });
}
