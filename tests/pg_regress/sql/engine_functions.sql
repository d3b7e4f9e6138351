-- Functions and operators that the engine computes itself: the answers, errors and their codes are those of a heap.
CREATE EXTENSION IF NOT EXISTS pg_doris;
SET client_min_messages = warning;
SET extra_float_digits = 1;
SET doris.rows_to_heap = 0;
CREATE TABLE fn_h (id int, i2 int2, i4 int4, i8 int8, f float8, n numeric(12,2), u numeric, s text COLLATE "C", t text COLLATE "C", dt date, ts timestamp, iv interval, tm time);
INSERT INTO fn_h SELECT g, (g * 31 % 200 - 100)::int2, nullif(g * 7919 % 1000 - 500, 3), g::int8 * 104729 * (CASE WHEN g % 3 = 0 THEN -1 ELSE 1 END),
  CASE g % 12 WHEN 0 THEN NULL WHEN 1 THEN 'NaN' WHEN 2 THEN 'Infinity' WHEN 3 THEN '-Infinity' WHEN 4 THEN '-0' WHEN 5 THEN '0.5'
    WHEN 6 THEN (g - 30)::text WHEN 7 THEN '1' ELSE ((g - 50) / 7.0)::text END::float8,
  CASE WHEN g % 10 = 0 THEN NULL ELSE (g * 37 % 2001 - 1000) / 100.0 END,
  CASE WHEN g % 14 = 0 THEN NULL WHEN g % 15 = 0 THEN 'NaN' WHEN g % 16 = 0 THEN 'Infinity' ELSE (g - 40) * 10.0 ^ (g % 25 - 12) END,
  (ARRAY['red green', 'Ünïcode ñ', '', 'a,b,,c', 'aXbXc', 'x1y2-z', NULL, '日本語', '  pad '])[1 + g % 9],
  (ARRAY['e', ',', 'X', '', '本', 'abc', NULL, ' '])[1 + g % 8],
  CASE WHEN g % 20 = 0 THEN 'infinity' WHEN g % 21 <> 0 THEN '1999-12-25'::date + g * 13 END,
  CASE WHEN g % 22 = 0 THEN '-infinity' WHEN g % 23 <> 0 THEN '2001-02-27 23:59:58.5'::timestamp + g * interval '31 hours 17 minutes 3.25 seconds' END
  , CASE WHEN g % 24 <> 0 THEN (g - 90) * interval '1 mon 3 days' - g * interval '5 hours 7 minutes 1.234567 seconds' END,
  CASE WHEN g % 25 = 0 THEN '24:00' WHEN g % 26 <> 0 THEN '00:00'::time + g * interval '7 hours 11 minutes 13.5 seconds' END
  FROM generate_series(1, 200) g;
CREATE TABLE fn_d (LIKE fn_h) USING doris;
INSERT INTO fn_d SELECT * FROM fn_h;
ANALYZE fn_h, fn_d;

CREATE FUNCTION fn_answer(query text) RETURNS TABLE (r text, n bigint) LANGUAGE plpgsql AS $$
BEGIN
  RETURN QUERY EXECUTE format('SELECT q::text, count(*) FROM (%s) q GROUP BY 1', query);
EXCEPTION WHEN OTHERS THEN
  RETURN QUERY SELECT SQLSTATE || ' ' || SQLERRM, 1::bigint;
END $$;
CREATE FUNCTION fn_differ(query text) RETURNS bigint LANGUAGE sql AS $$
  SELECT count(*) FROM fn_answer(replace(query, '@', 'd')) d FULL JOIN fn_answer(replace(query, '@', 'h')) h USING (r, n)
  WHERE d.r IS NULL OR h.r IS NULL $$;
-- Whether an expression is evaluated by PostgreSQL where rows are grouped by it.
CREATE FUNCTION fn_left(expression text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE line text; vectorised boolean = false; postgres boolean = false;
BEGIN
  FOR line IN EXECUTE format('EXPLAIN (VERBOSE, COSTS OFF) SELECT count(*) FROM fn_d GROUP BY %s', expression) LOOP
    vectorised = vectorised OR line ~ 'DorisVectorized';
    postgres = postgres OR line ~ '\[postgres\]|postgres#';
  END LOOP;
  RETURN postgres OR NOT vectorised;
END $$;

CREATE TABLE expressions (number int GENERATED ALWAYS AS IDENTITY, e text);
INSERT INTO expressions (e) SELECT unnest(ARRAY[
  'ceil(f)', 'floor(f)', 'round(f)', 'trunc(f)', 'sign(f)', 'sqrt(abs(f))', 'cbrt(f)', 'exp(f)', 'exp(least(f, 700))', 'ln(abs(f) + 1)', 'log(abs(f) + 1)',
  'ln(f)', 'log(f)', 'sqrt(f)', 'power(f, 2)', 'power(2, f)', 'power(abs(f), 0.5)', 'f ^ 3', 'power(f, 0.5)', 'power(i4, -1)', 'power(f, f)',
  'degrees(f)', 'radians(f)', '|/ abs(f)', 'abs(f)', 'round(f * 10) / 10',
  'i4 & 12', 'i4 | 5', 'i8 # 255', 'i2 & i2', 'i4 << 3', 'i8 >> 2', 'i2 << 20', 'i2 >> 1', 'i8 << 70', 'i4 >> -1',
  'sqrt(n)', 'sqrt(abs(n))', 'sqrt(abs(u))', 'sign(n)', 'sign(u)', 'div(n, 3)', 'div(u, 7.5)', 'div(n, i4)', 'div(i8, 1000)', 'mod(n, 0.7)', 'abs(u)',
  'replace(s, t, ''#'')', 'replace(s, ''e'', t)', 'split_part(s, t, 1)', 'split_part(s, '','', -1)', 'split_part(s, t, i4 % 3)', 'lpad(s, 12, ''ab'')', 'rpad(s, i2, t)', 'lpad(s, 3)',
  'repeat(s, i2 % 4)', 'reverse(s)', 'translate(s, ''aeX'', ''12'')', 'translate(s, t, ''ñ'')', 'initcap(s)', 'ascii(s)', 'ascii(t)', 'concat(s, t, i4, n)', 'concat(t, NULL::text, i8)',
  'concat_ws(''-'', s, t, i4)', 'concat_ws(t, s, i2)', 'strpos(s, t)', 'left(s, i2)', 'right(s, -2)', 'upper(s)', 'lower(s)', 'length(s)', 's || t',
  'CASE i4 % 3 WHEN 0 THEN 1 WHEN 1 THEN i2 END', 'CASE s WHEN t THEN 1 WHEN ''aXbXc'' THEN 2 WHEN NULL THEN 3 ELSE 4 END', 'CASE n WHEN 1.5 THEN s WHEN 2 THEN t END',
  'CASE i4 % 3 WHEN 0 THEN CASE i2 WHEN 5 THEN 1 / (i2 - 5) ELSE i2 END WHEN CASE i2 % 2 WHEN 0 THEN 1 ELSE 2 END THEN 7 END', 'i4::text', 'n::text', 'i8::varchar || s', 'u::text',
  'extract(epoch FROM iv)', 'extract(hour FROM iv)', 'extract(second FROM iv)', 'extract(day FROM iv)', 'extract(month FROM iv)', 'extract(year FROM iv)', 'extract(milliseconds FROM iv)',
  'date_part(''epoch'', iv)', 'date_part(''second'', iv)', 'date_part(''minute'', iv)', 'extract(epoch FROM tm)', 'extract(hour FROM tm)', 'extract(second FROM tm)', 'date_part(''second'', tm)',
  'extract(epoch FROM CASE WHEN ts > ''-infinity'' THEN ts - timestamp ''2001-01-01'' END)'
]);
SELECT e, fn_differ('SELECT id, ' || e || ' FROM fn_@') AS differ FROM expressions WHERE fn_differ('SELECT id, ' || e || ' FROM fn_@') <> 0 ORDER BY number;
-- In filters, and where rows are grouped.
SELECT e, fn_differ('SELECT id FROM fn_@ WHERE (' || e || ')::text < ''5''') AS differ FROM expressions
  WHERE fn_differ('SELECT id FROM fn_@ WHERE (' || e || ')::text < ''5''') <> 0 ORDER BY number;
SELECT e, fn_differ('SELECT count(*), min(id) FROM fn_@ GROUP BY ' || e) AS differ FROM expressions
  WHERE fn_differ('SELECT count(*), min(id) FROM fn_@ GROUP BY ' || e) <> 0 ORDER BY number;
-- What PostgreSQL is left with.
SELECT e FROM expressions WHERE fn_left(e) ORDER BY number;
-- Errors.
SELECT q, fn_answer('SELECT ' || q || ' FROM fn_d WHERE id = 1'), fn_differ('SELECT ' || q || ' FROM fn_@ WHERE id = 1') FROM unnest(ARRAY['sqrt(-id::float8)', 'ln(0.0 * id::float8)', 'log(-id::float8)',
  'power(id - 1.0::float8, -1)', 'power(-id::float8, 0.5)', 'exp(id * 1000.0::float8)', 'exp(id * -1000.0::float8)', 'power(id * 10.0::float8, 400)', 'sqrt(-id::numeric)', 'div(id::numeric, 0)',
  'split_part(s, t, id - 1)', 'repeat(s, 2000000000)', 'rpad(s, 2000000000)', 'degrees(id * 1e308)']) q;

-- Functions of floats to the last digit, over many ordinary values.
CREATE TABLE floats_h (id int, f float8);
INSERT INTO floats_h SELECT g, g / 4.0 FROM generate_series(1, 20000) g;
INSERT INTO floats_h SELECT 20000 + g, 1.0000001 ^ (g * 1000) / 977 FROM generate_series(1, 10000) g;
CREATE TABLE floats_d (LIKE floats_h) USING doris;
INSERT INTO floats_d SELECT * FROM floats_h;
SELECT e FROM unnest(ARRAY['cbrt(f)', 'sqrt(f)', 'exp(f / 100)', 'exp(-f / 100)', 'ln(f)', 'log(f)', 'power(f, 1.0 / 3)', 'power(f, -0.7)', 'power(1.001, f)', 'f ^ 1.5',
  'degrees(f)', 'radians(f)', 'ceil(f)', 'floor(f)', 'round(f)', 'trunc(f)', 'round(-f)', 'trunc(-f)', 'f::float4', 'f::int', 'f * 0.1', 'f / 3', '||/ f', '|/ f']) e
WHERE fn_differ('SELECT id, (' || e || ')::text FROM floats_@') <> 0;

-- Correlation, covariance and regression. Sums of these numbers are exact in floats, whatever the order of the rows.
CREATE TABLE fit_h AS SELECT g % 4 AS k, CASE WHEN g % 31 = 0 THEN NULL ELSE g % 16 END::float8 AS x, CASE WHEN g % 37 = 0 THEN NULL ELSE g % 8 * 2 - g % 16 END::float8 AS y FROM generate_series(1, 2000) g;
CREATE TABLE fit_d USING doris AS SELECT * FROM fit_h;
CREATE FUNCTION fit(am text) RETURNS TABLE (k int, corr numeric, covar_pop numeric, covar_samp numeric, r2 numeric, slope numeric, intercept numeric, sxx numeric, syy numeric, sxy numeric, avgx numeric, avgy numeric, n bigint, few numeric)
LANGUAGE plpgsql AS $$
BEGIN
  RETURN QUERY EXECUTE format('SELECT k, round(corr(y, x)::numeric, 10), round(covar_pop(y, x)::numeric, 10), round(covar_samp(y, x)::numeric, 10), round(regr_r2(y, x)::numeric, 10),
    round(regr_slope(y, x)::numeric, 10), round(regr_intercept(y, x)::numeric, 10), round(regr_sxx(y, x)::numeric, 6), round(regr_syy(y, x)::numeric, 6), round(regr_sxy(y, x)::numeric, 6),
    round(regr_avgx(y, x)::numeric, 10), round(regr_avgy(y, x)::numeric, 10), regr_count(y, x), round(corr(y, x) FILTER (WHERE x = 1)::numeric, 10) FROM fit_%s GROUP BY ROLLUP (k)', am);
END $$;
SELECT * FROM fit('d') ORDER BY k;
SELECT count(*) AS differ FROM (SELECT * FROM fit('d') EXCEPT SELECT * FROM fit('h')) x;
EXPLAIN (COSTS OFF) SELECT k, corr(y, x), regr_slope(y, x) FILTER (WHERE y > 0) FROM fit_d GROUP BY k;
SELECT corr(x, y) FROM fit_d WHERE x > 100;
SELECT regr_sxx(1e300 * x, 1e300 * x) FROM fit_d;
SELECT regr_sxx(1e300 * x, 1e300 * x) FROM fit_h;

DROP TABLE fn_h, fn_d, expressions, fit_h, fit_d;
DROP FUNCTION fn_answer, fn_differ, fn_left, fit;
RESET doris.rows_to_heap;
