CREATE TABLE commands (id text primary key, project text not null, project_id text not null references projects (id) on delete cascade, kind text not null, argv text not null, state text not null, actor text not null, created_at text not null, ended_at text, exit_code integer, reason text not null, duration_ms integer, timeout_seconds integer not null, stdout_bytes integer not null, stderr_bytes integer not null, truncated integer not null, network integer not null, agent text not null, model text not null, session text not null, "commit" text not null, delivered text not null, input_tokens integer not null, output_tokens integer not null, cost_usd real not null, answer text not null, parsed integer not null default 0, cause text not null default '') strict;
CREATE INDEX commands_by_project on commands (project, id);
CREATE INDEX commands_by_state on commands (state);
CREATE TABLE credentials (name text primary key, place text not null, updated_at text not null) strict;
CREATE TABLE departed (id text primary key) strict;
CREATE TABLE events (seq integer primary key, at text not null, kind text not null, subject text not null, actor text not null, data text not null, hash text not null) strict;
CREATE INDEX events_by_subject on events (subject, seq);
CREATE TABLE idempotency (key text primary key, fingerprint text not null, answer text not null, until real not null) strict;
CREATE UNIQUE INDEX "idx__sqlite_migrations_migration_set_name"
    ON "_sqlite_migrations" ("migration_set", "name");
CREATE TABLE journal_anchor (one integer primary key check (one = 1), seq integer not null, hash text not null) strict;
CREATE TABLE journal_head (one integer primary key check (one = 1), seq integer not null, hash text not null) strict;
CREATE TABLE leases (name text primary key, owner text not null, attempt integer not null, until real not null, holder text not null) strict;
CREATE TABLE operations (id text primary key, kind text not null, subject text not null, state text not null, spec text not null, actor text not null, created_at text not null) strict;
CREATE TABLE orphans (place text not null, uid text not null, there text not null, here text not null, primary key (place, uid)) strict;
CREATE TRIGGER project_departs after delete on projects begin insert or ignore into departed values (old.id); end;
CREATE TABLE projects (id text primary key, name text not null unique, description text not null, source text not null, network integer not null, state text not null, pod text not null, repository text not null, branch text not null, created_at text not null, updated_at text not null, agent text not null default '', model text not null default '') strict;
CREATE TABLE steps (operation text not null references operations (id) on delete cascade, position integer not null, name text not null, state text not null, primary key (operation, position)) strict;
