-- The tour of the README, line by line (scripts/tidy.sh compares them).
CREATE SCHEMA tour;
SET search_path = tour, public;

-- A table of rows that are only added. The key is the order on disk, which lets scans skip.
CREATE TABLE visits (site int, at timestamptz, visitor bigint, page text, ms int)
  USING doris WITH (duplicate_key = 'site, at');
INSERT INTO visits
  SELECT i % 50, timestamptz '2024-01-01' + i * interval '1 s', i % 1000, '/page/' || i % 20, i % 300
  FROM generate_series(1, 100000) i;

SELECT page, count(*), avg(ms)::numeric(6,1) AS ms FROM visits WHERE site = 7 GROUP BY page ORDER BY 2 DESC, 1 LIMIT 3;

-- It is a table like any other: constraints, indexes, transactions, DELETE, UPDATE.
CREATE TABLE accounts (id bigint PRIMARY KEY, owner text NOT NULL, balance numeric(12,2) CHECK (balance >= 0)) USING doris;
INSERT INTO accounts VALUES (1, 'Ann', 100), (2, 'Bob', 50);
BEGIN;
UPDATE accounts SET balance = balance - 30 WHERE id = 1;
UPDATE accounts SET balance = balance + 30 WHERE id = 2;
COMMIT;
SELECT * FROM accounts ORDER BY id;

-- One row a key: INSERT and COPY are upserts, and the larger sequence wins whatever came first.
CREATE TABLE orders (id bigint, status text, changed timestamptz)
  USING doris WITH (unique_key = 'id', sequence = 'changed');
INSERT INTO orders VALUES (1, 'paid', '2024-01-02'), (2, 'new', '2024-01-01');
INSERT INTO orders VALUES (1, 'new', '2024-01-01'), (2, 'shipped', '2024-01-03');
SELECT id, status FROM orders ORDER BY id;

-- A roll-up that keeps itself: rows of one key are folded as they are written.
CREATE TABLE daily (day date, site int, views bigint, users doris.bitmap)
  USING doris WITH (aggregate_key = 'day, site', sum = 'views', bitmap_union = 'users');
INSERT INTO daily SELECT at::date, site, 1, doris.to_bitmap(visitor) FROM visits;
INSERT INTO daily VALUES ('2024-01-01', 7, 1000, doris.to_bitmap(5000));
SELECT day, views, doris.bitmap_count(users) AS users FROM daily WHERE site = 7 ORDER BY day;

-- Rows that were written one by one become column segments in the background; or now:
CALL doris.compact('orders');
