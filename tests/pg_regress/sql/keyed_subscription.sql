-- A subscription whose UPDATEs move rows to another partition with a key: they are no loads.
CREATE DATABASE moves_from;
CREATE DATABASE moves_to;
\c moves_from
CREATE TABLE p (k int, r int, s int, PRIMARY KEY (k, r));
CREATE PUBLICATION moves FOR TABLE p;
SELECT count(*) FROM pg_create_logical_replication_slot('keyed_moves', 'pgoutput');
\c moves_to
SET client_min_messages = warning;
CREATE EXTENSION pg_doris;
CREATE TABLE p (k int, r int, s int, PRIMARY KEY (k, r)) PARTITION BY LIST (r);
CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1) USING doris WITH (unique_key = 'k, r', sequence = 's');
CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2) USING doris WITH (unique_key = 'k, r', sequence = 's');
-- The first is a deleted key, which is remembered; the second is there.
INSERT INTO p VALUES (1, 2, 9), (2, 2, 9);
DELETE FROM p WHERE k = 1;
CREATE PROCEDURE wait_for(condition text) LANGUAGE plpgsql AS $$
DECLARE there bool;
BEGIN
  FOR i IN 1..600 LOOP
    EXECUTE 'SELECT EXISTS (SELECT FROM ' || condition || ')' INTO there;
    COMMIT;
    IF there THEN RETURN; END IF;
    PERFORM pg_sleep(0.1);
  END LOOP;
  RAISE WARNING 'waited in vain for %', condition;
END $$;
SELECT format('host=%s port=%s user=%s dbname=moves_from', split_part(current_setting('unix_socket_directories'), ',', 1),
  current_setting('port'), current_user) AS source \gset
CREATE SUBSCRIPTION moves CONNECTION :'source' PUBLICATION moves
  WITH (create_slot = false, slot_name = 'keyed_moves', copy_data = false);
\c moves_from
INSERT INTO p VALUES (1, 1, 5), (3, 1, 5);
UPDATE p SET r = 2 WHERE k = 1;
INSERT INTO p VALUES (9, 1, 1);
\c moves_to
CALL wait_for('p WHERE k = 9');
SELECT * FROM p ORDER BY k, r;
-- Another row has the key: an error, until it is gone. What is loaded is loaded: the third row replaces one.
\c moves_from
INSERT INTO p VALUES (2, 1, 5);
UPDATE p SET r = 2 WHERE k = 2;
\c moves_to
CALL wait_for('pg_stat_subscription_stats WHERE subname = ''moves'' AND apply_error_count > 0');
SELECT * FROM p WHERE k = 2 AND r = 2;
DELETE FROM p WHERE k = 2 AND r = 2;
INSERT INTO p VALUES (4, 2, 1);
\c moves_from
INSERT INTO p VALUES (4, 2, 4);
\c moves_to
CALL wait_for('p WHERE k = 4 AND s = 4');
SELECT * FROM p ORDER BY k, r;
SET client_min_messages = warning;
DROP SUBSCRIPTION moves;
\c regress
DROP DATABASE moves_from;
DROP DATABASE moves_to;
