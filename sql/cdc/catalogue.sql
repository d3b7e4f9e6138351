-- SPDX-License-Identifier: Apache-2.0
-- What is to be mirrored, and how far it is. Written by the functions of this schema and the workers only.
CREATE TABLE doris.sync (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    owner oid NOT NULL,
    -- Where the source is, with its password if it has one; NULL is this database.
    connection text,
    -- The system identifier of the server it led to at first.
    source_system text,
    -- Tables that match join by themselves; NULL patterns match all.
    matching boolean NOT NULL DEFAULT false,
    tables text[],
    schemas text[],
    -- The user's publication, if the sync has none of its own.
    publication text,
    target_schema text,
    overrides jsonb NOT NULL DEFAULT '{}',
    wanted text NOT NULL DEFAULT 'run' CHECK (wanted IN ('run', 'pause', 'drop')),
    state text NOT NULL DEFAULT 'starting'
        CHECK (state IN ('starting', 'copying', 'streaming', 'paused', 'failing', 'lost', 'dropping')),
    slot_made boolean NOT NULL DEFAULT false,
    options jsonb NOT NULL DEFAULT '{}',
    -- The schemas that it has made for its mirrors: their owners may be let into these.
    made_schemas oid[] NOT NULL DEFAULT '{}',
    last_error text,
    error_at timestamptz,
    retries int NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE doris.sync_table (
    sync int NOT NULL REFERENCES doris.sync ON DELETE CASCADE,
    source oid NOT NULL,
    source_name text NOT NULL,
    -- 0 for a table that was refused.
    target oid NOT NULL,
    state text NOT NULL DEFAULT 'init' CHECK (state IN ('init', 'copied', 'streaming', 'paused', 'refused', 'gone')),
    -- The rows a copy holds: those of transactions this snapshot saw, all of them before this position.
    snapshot text,
    snapshot_lsn pg_lsn,
    -- The source's columns the mirror is in step with: [{"number", "name", "type", "typmod"}].
    columns jsonb,
    -- The number of the newest column that the source had then.
    columns_made smallint,
    -- What tells whether it has other columns by now: a hash of the transactions that wrote their descriptions.
    column_marks text,
    key_columns text[],
    -- The user has said which columns are the key.
    key_given boolean NOT NULL DEFAULT false,
    -- The files the source was made of, and what tells whether its rows were computed anew in others: cdc/src/rewrite_detection.rs.
    files text,
    marks text,
    partitioned boolean,
    published text,
    -- Of a partitioned source, which rows its members hold: {"files", "columns", "of": {oid: condition}}.
    bounds jsonb,
    -- The kinds of changes, rows and columns that its publication leaves out: the mirror is not its source then.
    leaves_out text,
    -- Its generated columns when the mirror was made.
    computed text,
    rows_copied bigint,
    -- About how many there are to copy, if the source's statistics tell.
    rows_expected bigint,
    copy_started_at timestamptz,
    copy_finished_at timestamptz,
    copies int NOT NULL DEFAULT 0,
    -- Copies begun: one that is not the last may not end.
    copy_number int NOT NULL DEFAULT 0,
    last_error text,
    error_at timestamptz,
    PRIMARY KEY (sync, source)
);
CREATE UNIQUE INDEX sync_table_target ON doris.sync_table (target) WHERE target <> 0;

REVOKE ALL ON doris.sync, doris.sync_table FROM PUBLIC;
GRANT USAGE ON SCHEMA doris TO PUBLIC;
