-- Whose rights changes are applied with: what belongs to a mirror runs as the mirror's owner, and as nobody else.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_doris;
CREATE ROLE cdc_alice;
CREATE ROLE cdc_bob;
GRANT EXECUTE ON FUNCTION doris.sync_table(regclass, text, jsonb) TO cdc_alice;
CREATE SCHEMA cdc_alice AUTHORIZATION cdc_alice;
CREATE FUNCTION cdc_alice_is_super() RETURNS boolean LANGUAGE sql AS
  $$SELECT bool_or(rolsuper OR rolcreatedb) FROM pg_roles WHERE rolname IN ('cdc_alice', 'cdc_bob')$$;
-- Waits until a mirror is paused, and says why.
CREATE FUNCTION cdc_why(mirrored text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE why text;
BEGIN
  FOR i IN 1..1200 LOOP
    SELECT split_part(last_error, ';', 1) INTO why FROM doris.sync_tables
    WHERE source = mirrored AND state IN ('paused', 'refused');
    EXIT WHEN FOUND;
    PERFORM pg_sleep(0.05);
  END LOOP;
  RETURN why;
END $$;
SET ROLE cdc_alice;
CREATE TABLE cdc_alice.log (who text, what text);
CREATE FUNCTION cdc_alice.rise() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO cdc_alice.log VALUES (current_user, 'rise');
  ALTER ROLE cdc_alice CREATEDB;
EXCEPTION WHEN insufficient_privilege THEN
  INSERT INTO cdc_alice.log VALUES (current_user, 'refused');
END $$;
CREATE FUNCTION cdc_alice.trigger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM cdc_alice.rise();
  PERFORM set_config('search_path', 'cdc_alice', false);
  RETURN NULL;
END $$;
CREATE FUNCTION cdc_alice.equal(text[], text[]) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  PERFORM cdc_alice.rise();
  RETURN true;
END $$;
CREATE OPERATOR cdc_alice.= (LEFTARG = text[], RIGHTARG = text[], FUNCTION = cdc_alice.equal);
CREATE FUNCTION cdc_alice.innocent(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
  PERFORM cdc_alice.rise();
  RETURN $1;
END $$;
-- A trigger of the mirror's runs as its owner, and what it sets is gone afterwards.
CREATE TABLE cdc_alice.t (id int PRIMARY KEY, v int);
CREATE TABLE cdc_alice.t_mirror (id int PRIMARY KEY, v int);
CREATE TRIGGER at_once AFTER INSERT ON cdc_alice.t_mirror FOR EACH ROW EXECUTE FUNCTION cdc_alice.trigger();
ALTER TABLE cdc_alice.t_mirror ENABLE ALWAYS TRIGGER at_once;
SELECT doris.sync_table('cdc_alice.t', options => '{"sync": "alice"}');
SELECT doris.wait_for_sync('alice');
INSERT INTO cdc_alice.t VALUES (1, 1);
SELECT doris.wait_for_sync('alice');
ALTER TABLE cdc_alice.t ADD x int;
INSERT INTO cdc_alice.t VALUES (2, 2);
SELECT doris.wait_for_sync('alice');
SELECT * FROM cdc_alice.t_mirror ORDER BY id;
SELECT DISTINCT * FROM cdc_alice.log;
-- One that would run when the transaction ends, with the worker's own rights, does not.
CREATE TABLE cdc_alice.later (id int PRIMARY KEY);
CREATE TABLE cdc_alice.later_mirror (id int PRIMARY KEY);
CREATE CONSTRAINT TRIGGER deferred AFTER INSERT ON cdc_alice.later_mirror DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION cdc_alice.trigger();
ALTER TABLE cdc_alice.later_mirror ENABLE ALWAYS TRIGGER deferred;
SELECT doris.sync_table('cdc_alice.later', options => '{"sync": "alice"}');
SELECT doris.wait_for_sync('alice');
INSERT INTO cdc_alice.later VALUES (1);
RESET ROLE;
SELECT cdc_why('"cdc_alice"."later"');
SELECT cdc_alice_is_super();
-- Who waits for the sync is told that one of its mirrors does not follow; why, only those who may see it.
CREATE FUNCTION cdc_waited(name text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE detail text; hint text;
BEGIN
  PERFORM doris.wait_for_sync(name);
  RETURN 'in step';
EXCEPTION WHEN object_not_in_prerequisite_state THEN
  GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
  RETURN concat_ws(' | ', SQLERRM, split_part(detail, ';', 1), hint);
END $$;
SELECT cdc_waited('alice');
SET ROLE cdc_bob;
SELECT cdc_waited('alice');
-- Others see neither its errors, in which rows may be quoted, nor how far it is: not by a function of their own in the query,
-- either.
CREATE FUNCTION pg_temp.leak(what text) RETURNS boolean COST 0.0000001 LANGUAGE plpgsql AS $$
BEGIN
  RAISE WARNING 'seen: %', what;
  RETURN true;
END $$;
SELECT count(*) FROM doris.sync_tables WHERE pg_temp.leak(last_error);
SELECT count(*) FROM doris.syncs WHERE pg_temp.leak(name);
SELECT count(*) FROM doris.sync_progress();
SELECT count(*) FROM doris.sync_copies();
RESET ROLE;
SELECT relname FROM pg_class WHERE relnamespace = 'doris'::regnamespace AND relkind = 'v'
  AND NOT COALESCE(reloptions @> '{security_barrier=true}', false);
-- A superuser's sync: the mirror is the source's owner's.
SET ROLE cdc_alice;
TRUNCATE cdc_alice.log;
CREATE DOMAIN cdc_alice.small AS int CHECK (cdc_alice.innocent(VALUE) < 1000);
RESET ROLE;
CREATE SCHEMA cdc_theirs AUTHORIZATION cdc_alice;
SET ROLE cdc_alice;
CREATE TABLE cdc_theirs.computed (id int PRIMARY KEY, g int GENERATED ALWAYS AS (cdc_alice.innocent(id)) STORED);
CREATE TABLE cdc_theirs.folded (id int PRIMARY KEY, g int GENERATED ALWAYS AS (id + cdc_alice.innocent(1)) STORED, v int);
CREATE TABLE cdc_theirs.checked (id int PRIMARY KEY, d cdc_alice.small);
CREATE TABLE cdc_theirs.prepared (id int PRIMARY KEY, v int);
CREATE TABLE cdc_theirs.prepared_mirror (id int PRIMARY KEY, v int);
CREATE INDEX ON cdc_theirs.prepared_mirror (cdc_alice.innocent(v));
RESET ROLE;
SELECT doris.create_sync('all', tables => '{cdc_theirs.computed, cdc_theirs.folded, cdc_theirs.checked, cdc_theirs.prepared}');
SELECT doris.wait_for_sync('all');
SELECT doris.wait_for_sync('all');
SET ROLE cdc_alice;
INSERT INTO cdc_theirs.computed VALUES (1);
INSERT INTO cdc_theirs.folded (id, v) VALUES (1, 7);
INSERT INTO cdc_theirs.checked VALUES (1, 1);
INSERT INTO cdc_theirs.prepared VALUES (1, 1);
ALTER TABLE cdc_theirs.prepared ADD late cdc_alice.small DEFAULT 5;
INSERT INTO cdc_theirs.prepared VALUES (2, 2, 2);
TRUNCATE cdc_alice.log;
RESET ROLE;
SELECT doris.wait_for_sync('all');
SELECT * FROM cdc_theirs.computed_mirror;
SELECT * FROM cdc_theirs.folded_mirror;
SELECT * FROM cdc_theirs.checked_mirror;
SELECT * FROM cdc_theirs.prepared_mirror ORDER BY id;
SELECT DISTINCT who FROM cdc_alice.log;
SELECT relname, relowner::regrole FROM pg_class WHERE relnamespace = 'cdc_theirs'::regnamespace AND relname LIKE '%mirror' ORDER BY 1;
SELECT cdc_alice_is_super();
-- One that takes a mirror over.
SET ROLE cdc_alice;
CREATE FUNCTION cdc_alice.refill() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO cdc_theirs.folded_mirror (id) VALUES (0) ON CONFLICT DO NOTHING;
  RETURN NULL;
END $$;
CREATE TRIGGER refill AFTER TRUNCATE ON cdc_theirs.folded_mirror FOR EACH STATEMENT EXECUTE FUNCTION cdc_alice.refill();
ALTER TABLE cdc_theirs.folded_mirror ENABLE ALWAYS TRIGGER refill;
DROP TABLE cdc_theirs.folded;
CREATE TABLE cdc_theirs.folded (id int PRIMARY KEY, g int GENERATED ALWAYS AS (id + cdc_alice.innocent(1)) STORED, v int,
  h int GENERATED ALWAYS AS (cdc_alice.innocent(id)) STORED);
RESET ROLE;
SELECT doris.wait_for_sync('all');
SELECT doris.wait_for_sync('all');
SELECT DISTINCT who FROM cdc_alice.log;
SELECT cdc_alice_is_super();
-- One that takes over a superuser's mirror does not.
CREATE SCHEMA cdc_ours;
GRANT ALL ON SCHEMA cdc_ours TO cdc_alice;
CREATE TABLE cdc_ours.lost (id int PRIMARY KEY);
SELECT doris.create_sync('lost', tables => '{cdc_ours.lost}');
SELECT doris.wait_for_sync('lost');
SELECT relowner = (SELECT oid FROM pg_roles WHERE rolname = current_user) AS own FROM pg_class WHERE oid = 'cdc_ours.lost_mirror'::regclass;
DROP TABLE cdc_ours.lost;
SET ROLE cdc_alice;
CREATE TABLE cdc_ours.lost (id int PRIMARY KEY, g int GENERATED ALWAYS AS (id + cdc_alice.innocent(1)) STORED, d cdc_alice.small);
RESET ROLE;
SELECT doris.wait_for_sync('lost');
SELECT doris.wait_for_sync('lost');
SELECT state, split_part(last_error, ';', 1) FROM doris.sync_tables WHERE sync = 'lost' AND state <> 'gone';
SELECT DISTINCT who FROM cdc_alice.log;
SELECT doris.drop_sync('lost');
-- A superuser's mirror is not in a schema of somebody else's, who could put another table in its place while a worker waits
-- for a lock.
CREATE TABLE cdc_theirs.super (id int PRIMARY KEY);
SELECT doris.sync_table('cdc_theirs.super', options => '{"sync": "lost"}');
CREATE TABLE cdc_theirs.super_mirror (id int PRIMARY KEY);
SELECT doris.sync_table('cdc_theirs.super', options => '{"sync": "lost"}');
SELECT doris.sync_table('cdc_theirs.super', 'cdc_ours.super', options => '{"sync": "lost"}');
SELECT doris.wait_for_sync('lost');
ALTER SCHEMA cdc_ours OWNER TO cdc_alice;
INSERT INTO cdc_theirs.super VALUES (1);
SELECT cdc_why('"cdc_theirs"."super"');
ALTER SCHEMA cdc_ours OWNER TO postgres;
SELECT doris.resync('lost', 'cdc_theirs.super');
SELECT doris.wait_for_sync('lost');
TABLE cdc_ours.super;
SELECT doris.drop_sync('lost');
-- Nor does a sync let a role into a schema that it has not made.
CREATE SCHEMA cdc_shut;
SELECT doris.create_sync('shut', tables => '{cdc_theirs.computed}', target_schema => 'cdc_shut');
SELECT cdc_why('"cdc_theirs"."computed"');
SELECT nspacl FROM pg_namespace WHERE nspname = 'cdc_shut';
SELECT doris.drop_sync('shut');
-- In a schema that the sync makes.
SELECT doris.create_sync('apart', tables => '{cdc_theirs.computed}', target_schema => 'cdc_apart');
SELECT doris.wait_for_sync('apart');
SELECT doris.wait_for_sync('apart');
SET ROLE cdc_alice;
INSERT INTO cdc_theirs.computed VALUES (2);
RESET ROLE;
SELECT doris.wait_for_sync('apart');
SELECT doris.wait_for_sync('all');
SET ROLE cdc_alice;
SELECT * FROM cdc_apart.computed ORDER BY id;
RESET ROLE;
-- A superuser's mirror runs no function of somebody else's, and nobody else's table becomes a superuser's mirror.
CREATE TABLE cdc_theirs.held (id int PRIMARY KEY, d cdc_alice.small);
ALTER TABLE cdc_theirs.held OWNER TO cdc_alice;
CREATE TABLE cdc_held (id int PRIMARY KEY, d cdc_alice.small);
SELECT doris.sync_table('cdc_theirs.held', 'public.cdc_held', options => '{"sync": "held"}');
CREATE TABLE cdc_theirs.lent (id int PRIMARY KEY);
ALTER TABLE cdc_theirs.lent OWNER TO cdc_alice;
CREATE TABLE cdc_lent (id int PRIMARY KEY);
ALTER TABLE cdc_lent OWNER TO cdc_bob;
SELECT doris.sync_table('cdc_theirs.lent', 'public.cdc_lent', options => '{"sync": "held"}');
-- A source that becomes somebody else's is no longer followed with its former owner's sync, nor into their mirror.
ALTER TABLE cdc_alice.t OWNER TO cdc_bob;
INSERT INTO cdc_alice.t VALUES (3, 3);
SELECT cdc_why('"cdc_alice"."t"');
SELECT count(*) FROM cdc_alice.t_mirror;
GRANT ALL ON SCHEMA cdc_theirs, cdc_alice TO cdc_bob;
GRANT ALL ON cdc_alice.log TO cdc_bob;
ALTER TABLE cdc_theirs.checked OWNER TO cdc_bob;
SET ROLE cdc_bob;
INSERT INTO cdc_theirs.checked VALUES (2, 2);
RESET ROLE;
SELECT cdc_why('"cdc_theirs"."checked"');
SELECT doris.drop_sync('all');
SELECT doris.drop_sync('apart');
SELECT doris.drop_sync('alice');
-- Mirrors that a crash would empty, and mirrors of mirrors.
CREATE TABLE cdc_plain (id int PRIMARY KEY);
CREATE UNLOGGED TABLE cdc_unlogged (id int PRIMARY KEY);
CREATE TEMPORARY TABLE cdc_temporary (id int PRIMARY KEY);
SELECT doris.sync_table('cdc_plain', 'public.cdc_unlogged', options => '{"sync": "held"}');
SELECT doris.sync_table('cdc_plain', 'pg_temp.cdc_temporary', options => '{"sync": "held"}');
SELECT doris.sync_table('cdc_plain', options => '{"sync": "held", "access_method": "heap"}');
SELECT doris.wait_for_sync('held');
SELECT doris.sync_table('cdc_plain_mirror', options => '{"sync": "second"}');
CREATE TABLE cdc_before (id int PRIMARY KEY);
SELECT doris.sync_table('cdc_before', 'cdc_plain', options => '{"sync": "held"}');
-- The schema public is the database owner's, who may change between two writes.
INSERT INTO cdc_before VALUES (1);
SELECT doris.sync_table('cdc_before', options => '{"sync": "held"}');
SELECT doris.wait_for_sync('held');
INSERT INTO cdc_before VALUES (2);
SELECT doris.wait_for_sync('held');
ALTER DATABASE :DBNAME OWNER TO cdc_bob;
INSERT INTO cdc_before VALUES (3);
SELECT cdc_why('"public"."cdc_before"');
TABLE cdc_before_mirror ORDER BY id;
ALTER DATABASE :DBNAME OWNER TO CURRENT_USER;
ALTER TABLE cdc_plain_mirror SET UNLOGGED;
INSERT INTO cdc_plain VALUES (1);
SELECT cdc_why('"public"."cdc_plain"');
SELECT cdc_alice_is_super();
SELECT doris.drop_sync('held');
DROP TABLE cdc_held, cdc_lent, cdc_plain, cdc_plain_mirror, cdc_unlogged, cdc_before, cdc_before_mirror;
DROP FUNCTION cdc_why(text), cdc_waited(text), cdc_alice_is_super();
DO $$
BEGIN
  FOR i IN 1..1000 LOOP
    EXIT WHEN NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name LIKE 'pg\_doris\_%');
    PERFORM pg_sleep(0.01);
  END LOOP;
END $$;
REVOKE ALL ON FUNCTION doris.sync_table(regclass, text, jsonb) FROM cdc_alice;
DROP SCHEMA cdc_theirs, cdc_apart, cdc_ours, cdc_shut CASCADE;
DROP SCHEMA cdc_alice CASCADE;
DROP OWNED BY cdc_alice, cdc_bob;
DROP ROLE cdc_alice, cdc_bob;
