-- SPDX-License-Identifier: Apache-2.0
-- Quotients as PostgreSQL gives them, a line each: dividend, its scale, divisor, its scale, quotient (all tab-separated).
--   psql -X -q -At -f quotients.sql > quotients15.tsv
SELECT setseed(0.5);
WITH operands AS (
  SELECT trunc(((random() - 0.5) * 10 ^ (random() * 15)::int)::numeric, (random() * 6)::int) AS a,
         trunc((random() * 10 ^ (random() * 9)::int)::numeric, (random() * 4)::int) AS b
  FROM generate_series(1, 600)
  UNION ALL
  SELECT a, b FROM unnest(ARRAY[0, 0.00, 1, 0.01, 9999, 10000, 9999.9999, 10001, 123456789012.12, 99999999999999999999, -5]) a,
                   unnest(ARRAY[1, 2, 3, 7, 9999, 10000, 10001, 99999999, 100000000, 0.3, 123456789]) b)
SELECT concat_ws(E'\t', replace(a::text, '.', ''), scale(a), replace(b::text, '.', ''), scale(b), a / b)
FROM (SELECT a, b FROM operands WHERE b <> 0) o;
