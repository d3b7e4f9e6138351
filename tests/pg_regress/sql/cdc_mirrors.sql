-- Mirrors that answer for their originals: doris.use_mirrors.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_doris;
CREATE SCHEMA um;
SET search_path = um, public;
CREATE TABLE orders (id int PRIMARY KEY, customer int NOT NULL, price numeric(10,2), note text,
    double numeric GENERATED ALWAYS AS (price * 2) STORED);
CREATE TABLE customers (id int PRIMARY KEY, name text);
CREATE TABLE plain (id int);
INSERT INTO orders SELECT i, i % 10, i, 'note ' || i FROM generate_series(1, 3000) i;
INSERT INTO customers SELECT i, 'customer ' || i FROM generate_series(0, 9) i;
INSERT INTO plain VALUES (1);
SELECT doris.sync_table('orders', options => '{"sync": "um"}');
SELECT doris.sync_table('customers', options => '{"sync": "um"}');
SELECT doris.wait_for_sync('um');
-- Who answers a query.
CREATE FUNCTION who(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
  FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
    IF line ~ 'Answered by' THEN RETURN NEXT trim(line); END IF;
  END LOOP;
END $$;
SELECT who('SELECT count(*) FROM orders');
-- The function was this session's last commit.
SELECT doris.wait_for_sync('um');
SET doris.use_mirrors = on;
SELECT who('SELECT count(*) FROM orders');
EXPLAIN (COSTS OFF) SELECT name, sum(price) FROM orders o JOIN customers c ON c.id = o.customer GROUP BY name ORDER BY 2 DESC LIMIT 3;
SELECT name, sum(price) FROM orders o JOIN customers c ON c.id = o.customer GROUP BY name ORDER BY 2 DESC LIMIT 3;
EXPLAIN (COSTS OFF, FORMAT JSON) SELECT FROM customers;
-- Every corner of a query is looked at.
SELECT who('SELECT count(*) FROM orders, plain');
SELECT who('SELECT (SELECT count(*) FROM plain) FROM orders');
SELECT who('WITH p AS (SELECT * FROM plain) SELECT * FROM customers WHERE id IN (SELECT id FROM p)');
SELECT who('SELECT ctid FROM orders');
SELECT who('SELECT o FROM orders o');
SELECT who('SELECT id FROM orders FOR UPDATE');
SELECT who('SELECT double FROM orders');
SELECT who('SELECT count(*) FROM orders TABLESAMPLE SYSTEM (10)');
SELECT who('SELECT count(*) FROM orders_mirror');
SELECT who('SELECT count(*) FROM pg_class, orders');
SELECT who('SELECT count(*) FROM pg_class');
SELECT who('SELECT 1');
-- Correlated subqueries, set operations, views, lateral joins: the same rows as from the heap.
CREATE VIEW dear AS SELECT customer, max(price) AS top FROM orders GROUP BY customer;
SELECT doris.wait_for_sync('um');
SELECT who($q$SELECT c.name, d.top FROM customers c JOIN dear d ON d.customer = c.id WHERE EXISTS (SELECT FROM orders o WHERE o.customer = c.id)$q$);
CREATE TABLE answers AS
  SELECT 1 AS q, c.name::text AS a FROM customers c WHERE EXISTS (SELECT FROM orders o WHERE o.customer = c.id AND o.price > 2995)
  UNION ALL SELECT 2, d.top::text FROM dear d
  UNION ALL SELECT 3, l.id::text FROM customers c, LATERAL (SELECT id FROM orders o WHERE o.customer = c.id ORDER BY id DESC LIMIT 2) l
  UNION ALL SELECT 4, x.n::text FROM (customers c JOIN orders o ON o.customer = c.id) AS x(a, n, i, cu, p, no, d) WHERE x.i < 4
  UNION ALL SELECT 5, (SELECT string_agg(note, ',' ORDER BY id) FROM orders WHERE customer = c.id AND id < 30) FROM customers c;
SET doris.use_mirrors = off;
CREATE TABLE answers_of_heap AS
  SELECT 1 AS q, c.name::text AS a FROM customers c WHERE EXISTS (SELECT FROM orders o WHERE o.customer = c.id AND o.price > 2995)
  UNION ALL SELECT 2, d.top::text FROM dear d
  UNION ALL SELECT 3, l.id::text FROM customers c, LATERAL (SELECT id FROM orders o WHERE o.customer = c.id ORDER BY id DESC LIMIT 2) l
  UNION ALL SELECT 4, x.n::text FROM (customers c JOIN orders o ON o.customer = c.id) AS x(a, n, i, cu, p, no, d) WHERE x.i < 4
  UNION ALL SELECT 5, (SELECT string_agg(note, ',' ORDER BY id) FROM orders WHERE customer = c.id AND id < 30) FROM customers c;
SET doris.use_mirrors = on;
SELECT doris.wait_for_sync('um');
SELECT a.name, b.n, who($q$SELECT a.name, b.n FROM customers a JOIN orders AS b(id, x, y, n) USING (id)$q$) FROM customers a JOIN orders AS b(id, x, y, n) USING (id) ORDER BY 1 LIMIT 2;
SELECT id, c.name, who($q$SELECT id, c.name FROM customers c FULL JOIN orders USING (id)$q$) FROM customers c FULL JOIN orders USING (id) ORDER BY id LIMIT 2;
SELECT who('SELECT j FROM (customers JOIN orders USING (id)) j');
SELECT count(*) FROM answers;
(SELECT * FROM answers EXCEPT ALL SELECT * FROM answers_of_heap) UNION ALL (SELECT * FROM answers_of_heap EXCEPT ALL SELECT * FROM answers);
-- The mirror really is what is read.
BEGIN;
UPDATE orders_mirror SET note = 'from the mirror' WHERE id = 1;
SELECT note FROM orders WHERE id = 1;
ROLLBACK;
-- Writes of one's own, before and after they are committed.
BEGIN;
UPDATE orders SET note = 'new' WHERE id = 2;
SELECT who('SELECT note FROM orders WHERE id = 2');
SELECT note FROM orders WHERE id = 2;
SELECT who('SELECT count(*) FROM customers');
SAVEPOINT s;
DELETE FROM customers;
SELECT who('SELECT count(*) FROM customers');
SELECT count(*) FROM customers;
ROLLBACK TO s;
SELECT who('SELECT count(*) FROM customers');
COMMIT;
SELECT note FROM orders WHERE id = 2;
SELECT doris.wait_for_sync('um');
SELECT who('SELECT note FROM orders WHERE id = 2');
SELECT note FROM orders WHERE id = 2;
-- A sync that does not run is not asked, whatever age is allowed.
SELECT doris.pause_sync('um');
SELECT who('SELECT count(*) FROM orders');
INSERT INTO orders VALUES (5001, 1, 1, 'while paused');
SET doris.max_staleness = '1 h';
SELECT who('SELECT count(*) FROM orders');
RESET doris.max_staleness;
SELECT count(*) FROM orders;
SELECT doris.resume_sync('um');
SELECT doris.wait_for_sync('um');
SELECT count(*), who('SELECT count(*) FROM orders') FROM orders;
-- Above READ COMMITTED the heap answers.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT who('SELECT count(*) FROM orders');
COMMIT;
-- Prepared plans choose at every execution.
SET plan_cache_mode = force_generic_plan;
PREPARE q(int) AS SELECT count(*), max(note) FROM orders WHERE customer = $1;
EXECUTE q(5);
EXPLAIN (COSTS OFF) EXECUTE q(5);
BEGIN;
UPDATE orders SET note = 'zzz' WHERE id = 5;
EXECUTE q(5);
SELECT who('EXECUTE q(5)');
ROLLBACK;
EXECUTE q(5);
SELECT who('EXECUTE q(5)');
SET doris.use_mirrors = off;
SELECT who('EXECUTE q(5)');
SET doris.use_mirrors = on;
SELECT who('EXECUTE q(5)');
RESET plan_cache_mode;
-- Rights are those on the original, and so is row security.
CREATE ROLE um_reader;
GRANT USAGE ON SCHEMA um TO um_reader;
GRANT SELECT (id, customer) ON orders TO um_reader;
GRANT SELECT ON orders_mirror TO um_reader;
SELECT doris.wait_for_sync('um');
SET ROLE um_reader;
SELECT count(note) FROM orders;
SELECT count(customer) FROM orders;
SELECT who('SELECT count(customer) FROM orders');
RESET ROLE;
REVOKE SELECT ON orders_mirror FROM um_reader;
GRANT SELECT (id) ON customers TO um_reader;
ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY few ON orders USING (id <= 7);
SELECT doris.wait_for_sync('um');
SET ROLE um_reader;
SELECT count(customer) FROM orders;
SELECT who('SELECT count(customer) FROM orders');
EXECUTE q(5);
RESET ROLE;
SELECT count(customer) FROM orders;
-- Cursors.
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM orders ORDER BY id;
FETCH 2 FROM c;
FETCH BACKWARD 1 FROM c;
ROLLBACK;
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT id FROM orders ORDER BY id;
FETCH 2 FROM c;
FETCH BACKWARD 1 FROM c;
COMMIT;
-- Columns that came, and one that the mirror does not have as the original has it.
ALTER TABLE orders ADD COLUMN added int DEFAULT 7;
SELECT doris.wait_for_sync('um');
SELECT who('SELECT added FROM orders');
SELECT DISTINCT added FROM orders;
ALTER TABLE orders_mirror RENAME added TO by_hand;
SELECT doris.wait_for_sync('um');
SELECT who('SELECT added FROM orders');
SELECT DISTINCT added FROM orders;
ALTER TABLE orders_mirror RENAME by_hand TO added;
SELECT doris.wait_for_sync('um');
SELECT who('SELECT note FROM orders');
ALTER TABLE orders RENAME note TO swap;
ALTER TABLE customers RENAME name TO called;
SELECT doris.wait_for_sync('um');
SELECT swap FROM orders WHERE id = 2;
SELECT who('SELECT swap FROM orders WHERE id = 2');
INSERT INTO orders VALUES (5002, 1, 1, 'after the rename');
SELECT doris.wait_for_sync('um');
SELECT swap, added, who('SELECT swap, added FROM orders') FROM orders WHERE id = 5002;
ALTER TABLE customers ALTER called TYPE varchar(30);
SELECT doris.wait_for_sync('um');
SELECT who('SELECT called FROM customers');
-- A table that was written anew is asked until its worker has looked what that was: other values fill the mirror again.
VACUUM FULL customers;
SELECT doris.wait_for_sync('um');
SELECT who('SELECT count(called) FROM customers');
BEGIN;
TRUNCATE customers;
INSERT INTO customers SELECT i, 'customer ' || i FROM generate_series(0, 9) i;
COMMIT;
SELECT doris.wait_for_sync('um');
SELECT who('SELECT count(called) FROM customers');
SELECT copies FROM doris.sync_tables WHERE source LIKE '%customers%' AND sync = 'um';
ALTER TABLE customers ALTER called TYPE varchar(30) USING upper(called);
SELECT doris.wait_for_sync('um');
SELECT max(called), who('SELECT max(called) FROM customers') FROM customers;
SELECT copies FROM doris.sync_tables WHERE source LIKE '%customers%' AND sync = 'um';
CREATE TABLE more_customers () INHERITS (customers);
SELECT who('SELECT count(*) FROM customers');
DROP TABLE more_customers;
-- Functions.
CREATE FUNCTION of_plain() RETURNS SETOF int LANGUAGE sql STABLE AS 'SELECT id FROM um.plain';
SELECT doris.wait_for_sync('um');
SELECT who('SELECT count(*) FROM customers, of_plain() p WHERE p = id');
DO $$
DECLARE n int; r record;
BEGIN
  SELECT count(*) INTO n FROM um.customers;
  FOR r IN SELECT id FROM um.customers ORDER BY id LOOP n := n + r.id; END LOOP;
  RAISE WARNING 'counted %', n;
END $$;
-- A partitioned table and its mirror.
CREATE TABLE parts (id int, day int, PRIMARY KEY (id, day)) PARTITION BY LIST (day);
CREATE TABLE parts_0 PARTITION OF parts FOR VALUES IN (0);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
INSERT INTO parts SELECT i, i % 2 FROM generate_series(1, 100) i;
SELECT doris.sync_table('parts', options => '{"sync": "um"}');
SELECT doris.wait_for_sync('um');
SELECT day, count(*) FROM parts GROUP BY day ORDER BY day;
SELECT who('SELECT day, count(*) FROM parts GROUP BY day');
SELECT who('SELECT count(*) FROM parts_0');
SELECT who('SELECT count(*) FROM ONLY parts');
BEGIN;
INSERT INTO parts_0 VALUES (200, 0);
SELECT who('SELECT count(*) FROM parts');
ROLLBACK;
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES IN (2);
INSERT INTO parts VALUES (300, 2);
SELECT doris.wait_for_sync('um');
SELECT count(*), who('SELECT count(*) FROM parts') FROM parts;
DROP TABLE parts_1;
SELECT doris.wait_for_sync('um');
SELECT count(*), who('SELECT count(*) FROM parts') FROM parts;
CREATE TABLE parts_3 AS SELECT 301 AS id, 3 AS day;
ALTER TABLE parts_3 ALTER id SET NOT NULL, ALTER day SET NOT NULL;
ALTER TABLE parts ATTACH PARTITION parts_3 FOR VALUES IN (3);
SELECT doris.wait_for_sync('um');
SELECT count(*), who('SELECT count(*) FROM parts') FROM parts;
SELECT doris.drop_sync('um', drop_targets => true);
SELECT who('SELECT count(*) FROM orders');
RESET doris.use_mirrors;
DROP SCHEMA um CASCADE;
DROP ROLE um_reader;
