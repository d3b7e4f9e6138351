-- Columnar tables joined with what PostgreSQL runs: heaps, indexes, functions, CTEs, values.
CREATE EXTENSION IF NOT EXISTS pg_doris;
SET client_min_messages = warning;
SET doris.rows_to_heap = 0;
CREATE TABLE fed_sales_d (id int, product int, amount numeric(10,2), at date) USING doris;
CREATE TABLE fed_sales_h (LIKE fed_sales_d);
INSERT INTO fed_sales_h SELECT i, i % 500, i % 97 * 0.5, date '2024-01-01' + i % 100 FROM generate_series(1, 20000) i;
INSERT INTO fed_sales_d SELECT * FROM fed_sales_h;
CREATE TABLE fed_products (id int PRIMARY KEY, name text, category int, price numeric, tags jsonb);
INSERT INTO fed_products SELECT i, 'product ' || i, i % 10, i / 4.0, jsonb_build_object('k', i % 3) FROM generate_series(0, 520) i;
CREATE TABLE fed_categories (id int PRIMARY KEY, title text);
INSERT INTO fed_categories SELECT i, 'category ' || i FROM generate_series(0, 9) i;
ANALYZE fed_sales_d, fed_sales_h, fed_products, fed_categories;

EXPLAIN (COSTS OFF) SELECT c.title, count(*), sum(s.amount) FROM fed_sales_d s JOIN fed_products p ON p.id = s.product
  JOIN fed_categories c ON c.id = p.category GROUP BY c.title;

-- Each must be one vectorised whole, and answer as on the heap.
CREATE FUNCTION fed(query text) RETURNS TABLE (vectorised bool, rows bigint, differ bigint) LANGUAGE plpgsql AS $$
DECLARE line text; first text; d text := replace(query, '@', 'fed_sales_d'); h text := replace(query, '@', 'fed_sales_h');
BEGIN
  FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || d LOOP
    first := coalesce(first, line);
  END LOOP;
  RETURN QUERY EXECUTE format('WITH d AS MATERIALIZED (SELECT x::text FROM (%s) x), h AS MATERIALIZED (SELECT x::text FROM (%s) x)
    SELECT %L::bool, (SELECT count(*) FROM h),
      (SELECT count(*) FROM ((TABLE d EXCEPT ALL TABLE h) UNION ALL (TABLE h EXCEPT ALL TABLE d)) y)', d, h, first LIKE '%DorisVectorized%');
END $$;
SELECT * FROM fed('SELECT c.title, count(*), sum(s.amount) FROM @ s JOIN fed_products p ON p.id = s.product JOIN fed_categories c ON c.id = p.category GROUP BY c.title');
SELECT * FROM fed('SELECT p.id, p.tags, s.id FROM @ s LEFT JOIN fed_products p ON p.id = s.product + 100');
SELECT * FROM fed('SELECT p.id, p.price, count(s.id) FROM fed_products p LEFT JOIN @ s ON p.id = s.product GROUP BY p.id');
SELECT * FROM fed('SELECT p.name, s.id FROM @ s FULL JOIN fed_products p ON p.id = s.product');
SELECT * FROM fed('SELECT count(*) FROM @ s WHERE EXISTS (SELECT 1 FROM fed_products p WHERE p.id = s.product AND p.category = 3)');
SELECT * FROM fed('SELECT count(*) FROM @ s WHERE product NOT IN (SELECT id FROM fed_products WHERE category < 8)');
SELECT * FROM fed('SELECT g, count(s.id) FROM generate_series(1, 30) g LEFT JOIN @ s ON s.product = g GROUP BY g');
SELECT * FROM fed('SELECT v.b, sum(s.amount) FROM @ s JOIN (VALUES (1, ''one''), (2, ''two''), (3, NULL)) v(a, b) ON v.a = s.product GROUP BY v.b');
SELECT * FROM fed('WITH c AS MATERIALIZED (SELECT id, category FROM fed_products WHERE category > 4) SELECT c.category, sum(s.amount) FROM @ s JOIN c ON c.id = s.product GROUP BY 1');
SELECT * FROM fed('WITH c AS MATERIALIZED (SELECT product, sum(amount) t FROM @ GROUP BY product) SELECT count(*), sum(a.t) FROM c a JOIN c b ON a.product = b.product + 1 JOIN @ s ON s.product = b.product');
SELECT * FROM fed('SELECT id FROM @ WHERE id < 50 UNION ALL SELECT id FROM fed_products');
SELECT * FROM fed('SELECT product FROM @ INTERSECT SELECT id FROM fed_products WHERE category = 2');
SELECT * FROM fed('SELECT s.id, p.name FROM @ s JOIN fed_products p ON p.id = s.product ORDER BY s.amount DESC, s.id LIMIT 20');
SELECT * FROM fed('SELECT count(*) FROM @ s, fed_categories c WHERE s.id < c.id * 10');
SELECT * FROM fed('SELECT p.id, row_number() OVER (PARTITION BY p.category ORDER BY p.id, s.id) FROM @ s JOIN fed_products p ON p.id = s.product WHERE s.id < 1000');
-- Numerics of another table, handed on as they come, may be NaN.
ALTER TABLE fed_products ADD COLUMN weight numeric(10,2) DEFAULT 1.5;
UPDATE fed_products SET weight = 'NaN' WHERE id IN (3, 519);
SELECT * FROM fed('SELECT p.weight, s.id FROM fed_products p LEFT JOIN @ s ON s.product = p.id AND s.id < 300');
SELECT * FROM fed('SELECT p.weight FROM @ s JOIN fed_products p ON s.product = p.id');
SELECT * FROM fed('SELECT sum(p.weight), max(p.weight) FROM @ s JOIN fed_products p ON s.product = p.id');
SELECT * FROM fed('SELECT p.weight * 2 - 1, p.weight::numeric(6,1), round(p.weight), p.weight > 2, s.id FROM fed_products p LEFT JOIN @ s ON s.product = p.id AND s.amount > p.weight');
SELECT * FROM fed('SELECT p.weight, s.amount FROM @ s JOIN fed_products p ON s.amount = p.weight AND s.product < 20');
SELECT * FROM fed('SELECT id, amount FROM @ WHERE id < 50 UNION ALL SELECT id, weight FROM fed_products');

-- What is volatile is run once, so PostgreSQL keeps it.
CREATE SEQUENCE fed_seq;
CREATE FUNCTION fed_next(n int) RETURNS SETOF bigint LANGUAGE sql VOLATILE AS $$ SELECT nextval('fed_seq') FROM generate_series(1, n) $$;
SELECT count(*) FROM fed_sales_d s JOIN fed_next(5) n ON n = s.id;
SELECT last_value FROM fed_seq;
-- Also where a subquery, a LIMIT or a sample asks for it. Numerics of mixed scales make the engine give up.
CREATE TABLE fed_mixed (id int, n numeric) USING doris;
INSERT INTO fed_mixed SELECT i, CASE WHEN i % 2 = 0 THEN 1.5 ELSE 1.50 END FROM generate_series(1, 5000) i;
CREATE FUNCTION fed_once(n int) RETURNS int LANGUAGE plpgsql VOLATILE AS $$ BEGIN PERFORM nextval('fed_seq'); RETURN n; END $$;
SELECT setval('fed_seq', 1, false);
SELECT n IS NOT NULL, count(*), max(x) FROM fed_mixed JOIN (SELECT id, (SELECT nextval('fed_seq') WHERE p.id > 0) x FROM fed_products p WHERE id BETWEEN 1 AND 300 OFFSET 0) h USING (id) GROUP BY n;
SELECT last_value FROM fed_seq;
SELECT setval('fed_seq', 1, false);
SELECT n IS NOT NULL, count(*) FROM fed_mixed JOIN (SELECT id FROM fed_products WHERE id > 0 LIMIT 10 * fed_once(1)) h USING (id) GROUP BY n;
SELECT last_value FROM fed_seq;
SELECT setval('fed_seq', 1, false);
SELECT n IS NOT NULL, count(*) FROM fed_mixed JOIN (SELECT id FROM fed_products TABLESAMPLE BERNOULLI (100 * fed_once(1)) WHERE id BETWEEN 1 AND 100) h USING (id) GROUP BY n;
SELECT last_value FROM fed_seq;
-- A function that queries columnar tables while one is being joined.
CREATE FUNCTION fed_top(n int) RETURNS TABLE (product int, total numeric) LANGUAGE plpgsql STABLE AS
$$ BEGIN RETURN QUERY SELECT s.product, sum(s.amount) FROM fed_sales_d s GROUP BY s.product ORDER BY 2 DESC, 1 LIMIT n; END $$;
CREATE FUNCTION fed_total(p int) RETURNS numeric LANGUAGE plpgsql STABLE AS
$$ BEGIN RETURN (SELECT sum(amount) FROM fed_sales_d WHERE product = p); END $$;
SET doris.threads = 2;
SELECT * FROM fed('SELECT t.product, t.total, count(*) FROM @ s JOIN fed_top(5) t USING (product) GROUP BY 1, 2');
SELECT * FROM fed('SELECT p.id, count(*) FROM @ s JOIN fed_products p ON p.id = s.product WHERE fed_total(p.id) > 900 GROUP BY 1');
RESET doris.threads;
-- Rescans with parameters, prepared plans, cursors, own writes, errors in the fed plan.
SELECT * FROM fed('SELECT c.id, (SELECT sum(s.amount) FROM @ s JOIN fed_products p ON p.id = s.product WHERE p.category = c.id OR s.id = c.id) FROM fed_categories c');
SELECT * FROM fed('SELECT c.id, l.n FROM fed_categories c, LATERAL (SELECT count(*) n FROM @ s JOIN fed_products p ON p.id = s.product AND p.price > c.id * 10 OFFSET 0) l');
PREPARE fed_p(int) AS SELECT count(*), sum(s.amount) FROM fed_sales_d s JOIN fed_products p ON p.id = s.product WHERE p.category = $1;
SET plan_cache_mode = force_generic_plan;
EXECUTE fed_p(1);
EXECUTE fed_p(2);
EXECUTE fed_p(NULL);
UPDATE fed_products SET category = 2 WHERE category = 1;
EXECUTE fed_p(1);
EXECUTE fed_p(2);
RESET plan_cache_mode;
BEGIN;
DECLARE c NO SCROLL CURSOR FOR SELECT s.id, p.name FROM fed_sales_d s JOIN fed_products p ON p.id = s.product WHERE p.id = 7 ORDER BY s.id;
FETCH 2 FROM c;
DELETE FROM fed_products WHERE id = 7;
SAVEPOINT a;
SELECT count(*) FROM fed_sales_d s JOIN fed_products p ON 1 / (p.id - p.id) = s.product;
ROLLBACK TO a;
FETCH 2 FROM c;
SELECT count(*) FROM fed_sales_d s JOIN fed_products p ON p.id = s.product WHERE p.id = 7;
ROLLBACK;
SELECT count(*) FROM fed_sales_d s JOIN fed_products p ON p.id = s.product WHERE p.price / (p.id - 300) > 0;
-- Privileges and row security of the fed table hold.
CREATE ROLE regress_fed;
GRANT SELECT ON fed_sales_d TO regress_fed;
SET ROLE regress_fed;
SELECT count(*) FROM fed_sales_d s JOIN fed_products p ON p.id = s.product;
RESET ROLE;
GRANT SELECT ON fed_products TO regress_fed;
ALTER TABLE fed_products ENABLE ROW LEVEL SECURITY;
CREATE POLICY fed_some ON fed_products USING (category = 5);
SET ROLE regress_fed;
SELECT count(*) FROM fed_sales_d s JOIN fed_products p ON p.id = s.product;
RESET ROLE;
EXPLAIN (ANALYZE, BUFFERS OFF, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT count(*) FROM fed_sales_d s JOIN fed_categories c ON c.id = s.product;
DROP TABLE fed_sales_d, fed_sales_h, fed_products, fed_categories;
DROP FUNCTION fed, fed_next, fed_top, fed_total;
DROP SEQUENCE fed_seq;
DROP ROLE regress_fed;
