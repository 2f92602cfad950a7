"""The words of the command line, for completion. Made by docs/generate.py (`just docs`); do not edit."""

# fmt: off
# ruff: noqa: Q000
# a value: one of `|these|words`, a kind of name, files or dirs, any text (empty), None for a flag
Option = tuple[tuple[str, ...], str | None, str]  # its spellings, its value, what it is for

ROOT: tuple[Option, ...] = ((('-h', '--help'), None, 'Show this message and exit.'), (('--version',), None, 'Show the version.'))
SHARED: tuple[Option, ...] = (
    (('-o', '--output'), '|table|wide|json|yaml|name|jsonl', 'table, wide, json, yaml, name or jsonl.'),
    (('--context',), 'context', 'The context to work in.'),
    (('-v', '--verbose'), None, 'Say on stderr what rdev does.'),
    (('--log-file',), 'files', 'Write the same to a file (bounded, 0600).'),
    (('--log-format',), '|text|json', 'text or json, for both.'),
    (('-h', '--help'), None, 'Show this message and exit.'),
)
GROUPS: dict[str, dict[str, str]] = {
    '': {
        'demo': 'The main job, narrated live on a scripted model, then cleaned up.',
        'project': 'Projects: a record, a repository and a pod under one name.',
        'claude': 'Run Claude Code on a project and commit what it changed.',
        'exec': "Run a command in a project's pod.",
        'shell': "Run a line of sh in a project's pod.",
        'git': "Run git in a project's work tree, in its pod.",
        'command': 'Commands: durable runs, with an outcome and a replayable output.',
        'ps': 'List the commands that run.',
        'logs': "Show the output of a project's newest command.",
        'events': 'Show what happened: who did what, on what, with which outcome.',
        'context': 'Contexts: named places to work, and the settings in force.',
        'doctor': 'Look at tools, files, state, journal and isolation, and say what to type about what is wrong.',
        'completion': 'Print the completion script of a shell: commands, options and live names at Tab.',
        'version': 'Show the version.',
    },
    'project': {
        'create': 'Create a project: its record, its repository and its pod.',
        'list': 'List projects by name.',
        'show': 'Show one project.',
        'status': 'Show how a project stands: its newest commit, its pod, what runs in it.',
        'delete': 'Delete a project: its running commands, its pod with the work tree, its repository, its record.',
    },
    'command': {
        'list': 'List commands, newest first.',
        'show': 'Show one command and its outcome.',
        'output': 'Show what a command printed so far.',
        'attach': "Follow a command's output from any byte on, and return its outcome.",
        'cancel': 'Stop a command: TERM to its whole group, five seconds of grace, then KILL.',
    },
    'context': {
        'list': 'List contexts; `local` always exists.',
        'show': 'Show one context, the current one by default.',
        'view': 'Show every setting in force and where its value came from.',
        'use': 'Make a context the current one.',
        'set': 'Change settings of a context, making it if it is new.',
    },
}
ARGUMENTS: dict[str, tuple[str, ...]] = {
    'demo': (),
    'project create': ('',),
    'project list': (),
    'project show': ('project',),
    'project status': ('project',),
    'project delete': ('project',),
    'claude': ('project', ''),
    'exec': ('project',),
    'shell': ('project', ''),
    'git': ('project',),
    'command list': (),
    'command show': ('command',),
    'command output': ('command',),
    'command attach': ('command',),
    'command cancel': ('command',),
    'ps': (),
    'logs': ('project',),
    'events': (),
    'context list': (),
    'context show': ('context',),
    'context view': (),
    'context use': ('context',),
    'context set': ('context',),
    'doctor': (),
    'completion': ('|bash|zsh|fish|powershell',),
    'version': (),
}
OPTIONS: dict[str, tuple[Option, ...]] = {
    'demo': (
        (('--keep',), None, 'Leave the project, to look at it.'),
        (('--agent',), '|claude|bundled', 'claude or bundled; what is here, by default.'),
        (('--isolation',), '|bubblewrap|none', 'bubblewrap or none.'),
    ),
    'project create': (
        (('--description', '-d'), '', 'One line about it.'),
        (('--from',), 'dirs', 'Take history and branches from there instead of the skeleton.'),
        (('--no-network',), None, 'No command of it ever reaches the network.'),
        (('--dry-run',), None, 'Print what would be done.'),
        (('--isolation',), '|bubblewrap|none', 'bubblewrap or none.'),
        (('--timeout',), '', 'How long to wait while another process works on it (30s).'),
    ),
    'project list': (),
    'project show': (),
    'project status': (),
    'project delete': (
        (('--yes', '-y'), None, 'Do not ask.'),
        (('--dry-run',), None, 'Print what would be removed.'),
        (('--timeout',), '', 'How long to wait while another process works on it (30s).'),
    ),
    'claude': (
        (('--model',), '', "The model; the agent's own choice by default."),
        (('--no-commit',), None, 'Leave the changes in the work tree.'),
        (('--timeout',), '', 'End it after so long: 90s, 30m, 8h.'),
        (('--no-network',), None, 'Without any network.'),
        (('--no-wait',), None, 'Start it, print its id and leave; rdev command attach ID follows it.'),
        (('--isolation',), '|bubblewrap|none', 'bubblewrap or none.'),
    ),
    'exec': (
        (('-i', '--stdin'), None, 'Forward stdin, and close it at its end.'),
        (('-t', '--tty'), None, 'Give it a terminal.'),
        (('--timeout',), '', 'End it after so long: 90s, 30m, 8h.'),
        (('--no-network',), None, 'Without any network.'),
        (('--no-wait',), None, 'Start it, print its id and leave; rdev command attach ID follows it.'),
        (('--isolation',), '|bubblewrap|none', 'bubblewrap or none.'),
    ),
    'shell': (
        (('-i', '--stdin'), None, 'Forward stdin, and close it at its end.'),
        (('--timeout',), '', 'End it after so long: 90s, 30m, 8h.'),
        (('--no-network',), None, 'Without any network.'),
        (('--no-wait',), None, 'Start it, print its id and leave; rdev command attach ID follows it.'),
        (('--isolation',), '|bubblewrap|none', 'bubblewrap or none.'),
    ),
    'git': (
        (('--timeout',), '', 'End it after so long: 90s, 30m, 8h.'),
        (('--no-wait',), None, 'Start it, print its id and leave; rdev command attach ID follows it.'),
        (('--isolation',), '|bubblewrap|none', 'bubblewrap or none.'),
    ),
    'command list': (
        (('--project', '-p'), 'project', "Only this project's."),
        (('--running',), None, 'Only those that run.'),
        (('--before',), 'command', 'Only those older than this one.'),
        (('--limit',), '', 'At most so many.'),
    ),
    'command show': (),
    'command output': (
        (('--stderr',), None, 'What it wrote on stderr, instead of stdout.'),
        (('--offset',), '', 'From this byte of stdout on.'),
        (('--stderr-offset',), '', 'From this byte of stderr on.'),
    ),
    'command attach': (
        (('--offset',), '', 'From this byte of stdout on.'),
        (('--stderr-offset',), '', 'From this byte of stderr on.'),
    ),
    'command cancel': (),
    'ps': (),
    'logs': (
        (('-f', '--follow'), None, 'Go on until it ends.'),
    ),
    'events': (
        (('-f', '--follow'), None, 'Go on, until Ctrl-C.'),
        (('--after',), '', 'Only what came after this line.'),
        (('--subject',), 'project', 'Only what is about this.'),
        (('--limit',), '', 'At most so many (the newest, without --after).'),
    ),
    'context list': (),
    'context show': (),
    'context view': (
        (('--origin',), None, 'Say where each value came from (always done).'),
    ),
    'context use': (),
    'context set': (
        (('--isolation',), '|bubblewrap|none', 'bubblewrap or none.'),
        (('--show',), 'dirs', 'A host folder that sandboxes see read-only; again for more.'),
        (('--agent-path',), 'files', "Where an agent's program is."),
        (('--agent-env',), '', 'A variable for an agent; no secrets.'),
    ),
    'doctor': (
        (('--isolation',), '|bubblewrap|none', 'bubblewrap or none.'),
    ),
    'completion': (),
    'version': (),
}
TAILED = ('exec', 'git')  # what stands after their `--` is another program's
