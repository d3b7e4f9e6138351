-- Options of key models: which of them make a model, and what is refused.
CREATE SCHEMA model_options;
SET search_path = model_options, doris, public;
SET default_table_access_method = doris;

-- One key, and options that belong to it.
CREATE TABLE bad (a int, b int) WITH (unique_key = 'a', duplicate_key = 'a');
CREATE TABLE bad (a int, b int) WITH (unique_key = 'a', aggregate_key = 'a', sum = 'b');
CREATE TABLE bad (a int, b int) WITH (sum = 'b');
CREATE TABLE bad (a int, b int) WITH (unique_key = 'a', sum = 'b');
CREATE TABLE bad (a int, b int) WITH (duplicate_key = 'a', replace_if_not_null = 'b');
CREATE TABLE bad (a int, b int) WITH (sequence = 'b');
CREATE TABLE bad (a int, b int) WITH (aggregate_key = 'a', sum = 'b', sequence = 'b');
CREATE TABLE bad (a int, b int) WITH (duplicate_key = 'a', delete_sign = 'b');
CREATE TABLE bad (a int, b int) WITH (unique_key = 'b');
CREATE TABLE bad (a int, b int) WITH (aggregate_key = 'b', sum = 'a');
CREATE TABLE bad (a float8, b int) WITH (aggregate_key = 'a', sum = 'b');
CREATE TABLE bad (a bitmap, b int) WITH (aggregate_key = 'a', sum = 'b');

-- Sequence and delete sign.
CREATE TABLE bad (a int, b text) WITH (unique_key = 'a', sequence = 'b');
CREATE TABLE bad (a int, b float8) WITH (unique_key = 'a', sequence = 'b');
CREATE TABLE bad (a int, b int) WITH (unique_key = 'a', sequence = 'a');
CREATE TABLE bad (a int, b int, c int) WITH (unique_key = 'a', sequence = 'b, c');
CREATE TABLE bad (a int, b int) WITH (unique_key = 'a', sequence = 'nothing');
CREATE TABLE bad (a int, b text) WITH (unique_key = 'a', delete_sign = 'b');
CREATE TABLE bad (a int, b int) WITH (unique_key = 'a', delete_sign = 'a');
CREATE TABLE bad (a int, b int) WITH (unique_key = 'a', delete_sign = 'b', sequence = 'b');

-- When rows are merged is Doris's choice, which changes no answer here.
CREATE TABLE bad (a int, b int) WITH (duplicate_key = 'a', merge_on_write = true);
CREATE TABLE bad (a int, b int) WITH (unique_key = 'a', merge_on_write = 'perhaps');
CREATE TABLE late (a int, "false" int, c int) WITH (unique_key = 'a', merge_on_write = off);
CREATE TABLE early (a int, b int) WITH (unique_key = 'a', merge_on_write = on);
INSERT INTO late VALUES (1, 1), (2, 1);
INSERT INTO late VALUES (1, 2);
SELECT * FROM late ORDER BY a;
ALTER TABLE late SET (merge_on_write = true);
ALTER TABLE late RENAME COLUMN "false" TO b;
ALTER TABLE late DROP COLUMN c;
SELECT relname, reloptions FROM pg_class WHERE relname IN ('late', 'early') ORDER BY 1;
DROP TABLE late, early;

-- Value columns have one aggregation each, key columns none.
CREATE TABLE bad (a int, b int, c int) WITH (aggregate_key = 'a', sum = 'b');
CREATE TABLE bad (a int, b int) WITH (aggregate_key = 'a', sum = 'b', max = 'b');
CREATE TABLE bad (a int, b int) WITH (aggregate_key = 'a', sum = 'a, b');
CREATE TABLE bad (a int, b int) WITH (aggregate_key = 'a', sum = 'b, b');
CREATE TABLE bad (a int, b int) WITH (aggregate_key = 'a', sum = 'nothing');

-- Types.
CREATE DOMAIN small_sum AS int CHECK (VALUE < 100);
CREATE TABLE bad (a int, b text) WITH (aggregate_key = 'a', sum = 'b');
CREATE TABLE bad (a int, b date) WITH (aggregate_key = 'a', sum = 'b');
CREATE TABLE bad (a int, b small_sum) WITH (aggregate_key = 'a', sum = 'b');
CREATE TABLE bad (a int, b json) WITH (aggregate_key = 'a', min = 'b');
CREATE TABLE bad (a int, b bitmap) WITH (aggregate_key = 'a', max = 'b');
CREATE TABLE bad (a int, b bitmap) WITH (aggregate_key = 'a', hll_union = 'b');
CREATE TABLE bad (a int, b hll) WITH (aggregate_key = 'a', bitmap_union = 'b');
CREATE TABLE bad (a int, b hll) WITH (aggregate_key = 'a', quantile_union = 'b');
CREATE TABLE bad (a int, b int NOT NULL) WITH (aggregate_key = 'a', replace_if_not_null = 'b');
CREATE TABLE bad (a int, b int DEFAULT 1) WITH (aggregate_key = 'a', replace_if_not_null = 'b');
CREATE TABLE bad (a int, b int GENERATED ALWAYS AS (a + 1) STORED) WITH (aggregate_key = 'a', sum = 'b');
CREATE TABLE bad (a int, b int GENERATED ALWAYS AS IDENTITY) WITH (aggregate_key = 'a', max = 'b');

-- A default of the type is a default; types get one at any time, and the table is altered and restored all the same.
CREATE DOMAIN five AS int;
CREATE TABLE of_domain (a int, b int, c five) WITH (aggregate_key = 'a', sum = 'b', replace_if_not_null = 'c');
ALTER DOMAIN five SET DEFAULT 5;
ALTER TABLE of_domain ADD d int, SET (sum = 'b, d');
CREATE TABLE of_domain_too (a int, b int, c five) WITH (aggregate_key = 'a', sum = 'b', replace_if_not_null = 'c');
DROP TABLE of_domain, of_domain_too;

-- Actions of foreign keys that would update rows of an aggregate key, or delete them by values, never could.
CREATE TABLE referred (id int PRIMARY KEY) USING heap;
CREATE TABLE bad (a int REFERENCES referred ON UPDATE CASCADE, b int) WITH (aggregate_key = 'a', sum = 'b');
CREATE TABLE bad (a int REFERENCES referred ON DELETE SET NULL, b int) WITH (aggregate_key = 'a', sum = 'b');
CREATE TABLE bad (a int, b int REFERENCES referred ON DELETE CASCADE) WITH (aggregate_key = 'a', replace = 'b');
CREATE TABLE referring (a int REFERENCES referred ON DELETE CASCADE, b int) WITH (aggregate_key = 'a', replace = 'b');
ALTER TABLE referring ADD FOREIGN KEY (b) REFERENCES referred ON DELETE SET DEFAULT;
ALTER TABLE referring ADD FOREIGN KEY (b) REFERENCES referred;
INSERT INTO referred VALUES (1), (2);
INSERT INTO referring VALUES (1, 2);
DELETE FROM referred WHERE id = 2;
DELETE FROM referred WHERE id = 1;
SELECT count(*) FROM referring;
DROP TABLE referring;
-- Partitions get those of their table. What there was before is made again with its column.
CREATE TABLE referring (a int, b int REFERENCES referred ON DELETE SET NULL) PARTITION BY LIST (a);
CREATE TABLE bad PARTITION OF referring FOR VALUES IN (1) WITH (aggregate_key = 'a', replace = 'b');
CREATE TABLE late (a int, b int) WITH (aggregate_key = 'a', replace = 'b');
ALTER TABLE referring ATTACH PARTITION late FOR VALUES IN (1);
DROP TABLE referring;
ALTER TABLE late ADD c int REFERENCES referred ON DELETE SET NULL, SET (replace = 'b, c');
ALTER TABLE late ADD CONSTRAINT before FOREIGN KEY (b) REFERENCES referred;
UPDATE pg_constraint SET confdeltype = 'n' WHERE conname = 'before' AND conrelid = 'late'::regclass;
ALTER TABLE late ALTER b TYPE bigint;
SELECT conname, confdeltype FROM pg_constraint WHERE conrelid = 'late'::regclass;
DROP TABLE late, referred;
-- Virtual generated columns, which PostgreSQL has from 18 on, have no values in rows.
CREATE TABLE bad (a int, b int GENERATED ALWAYS AS (a + 1) VIRTUAL) WITH (unique_key = 'a', sequence = 'b');
CREATE TABLE bad (a int, b int GENERATED ALWAYS AS (a + 1) VIRTUAL) WITH (unique_key = 'a', delete_sign = 'b');
CREATE TABLE bad (b int GENERATED ALWAYS AS (a + 1) VIRTUAL, a int) WITH (unique_key = 'b');
CREATE TABLE bad (b int GENERATED ALWAYS AS (a + 1) VIRTUAL, a int) WITH (duplicate_key = 'b');
CREATE TABLE bad (a int, b int GENERATED ALWAYS AS (a + 1) VIRTUAL) WITH (aggregate_key = 'a', max = 'b');
