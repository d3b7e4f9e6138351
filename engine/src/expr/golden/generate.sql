-- SPDX-License-Identifier: Apache-2.0
-- PostgreSQL's own answers, against which expressions are tested: one line per call, tab-separated:
-- function, arguments, answer (`\N` for NULL, `ERROR sqlstate message`). Dates, times and floats are the hex of
-- their binary form. Run on PostgreSQL 15, UTF-8, C locale:
--   psql -X -q -At -f generate.sql > postgres15.tsv
SET timezone = 'UTC';
SET extra_float_digits = 1;
CREATE FUNCTION pg_temp.try(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE answer text;
BEGIN
  EXECUTE query INTO answer;
  RETURN coalesce(answer, '\N');
EXCEPTION WHEN OTHERS THEN
  RETURN 'ERROR ' || sqlstate || ' ' || sqlerrm;
END $$;

CREATE TEMP TABLE s(v text);
INSERT INTO s VALUES (''), ('a'), ('abc'), ('äöü'), ('日本語x'), ('a😀b'), ('  pad '), ('xxabcxx'), ('a,b,,c'), (',');
CREATE TEMP TABLE n(v int);
INSERT INTO n VALUES (-2147483648), (-3), (-1), (0), (1), (2), (3), (2147483647);
CREATE TEMP TABLE part(v text);
INSERT INTO part VALUES (''), ('a'), ('b'), (','), ('ö'), ('本語'), ('xx'), (' ');

SELECT concat_ws(E'\t', f, s.v, n.v, pg_temp.try(format('SELECT %s(%L, %s)', f, s.v, n.v)))
FROM unnest(ARRAY['left', 'right', 'substring']) f, s, n;
SELECT concat_ws(E'\t', 'substring', s.v, n.v, m.v, pg_temp.try(format('SELECT substring(%L, %s, %s)', s.v, n.v, m.v)))
FROM s, n, n m WHERE s.v IN ('abc', '日本語x', 'a😀b');
SELECT concat_ws(E'\t', f, s.v, pg_temp.try(format('SELECT %s(%L)::text', f, s.v)))
FROM unnest(ARRAY['length', 'octet_length', 'upper', 'lower', 'reverse', 'btrim', 'ltrim', 'rtrim']) f, s
WHERE f NOT IN ('upper', 'lower') OR s.v NOT IN ('äöü');
SELECT concat_ws(E'\t', f, s.v, part.v, pg_temp.try(format('SELECT %s(%L, %L)::text', f, s.v, part.v)))
FROM unnest(ARRAY['strpos', 'starts_with', 'btrim', 'ltrim', 'rtrim', 'concat', 'textcat']) f, s, part;
SELECT concat_ws(E'\t', 'replace', s.v, part.v, t.v, pg_temp.try(format('SELECT replace(%L, %L, %L)', s.v, part.v, t.v)))
FROM s, part, part t WHERE t.v IN ('', 'xx', 'ö');
SELECT concat_ws(E'\t', 'split_part', s.v, part.v, n.v, pg_temp.try(format('SELECT split_part(%L, %L, %s)', s.v, part.v, n.v)))
FROM s, part, n WHERE part.v IN ('', ',', 'xx', 'a');
SELECT concat_ws(E'\t', f, s.v, n, part.v, pg_temp.try(format('SELECT %s(%L, %s, %L)', f, s.v, n, part.v)))
FROM unnest(ARRAY['lpad', 'rpad']) f, s, unnest(ARRAY[-1, 0, 2, 5, 9, 268435455, 2147483647]) n, part
WHERE part.v IN ('', 'xx', '本語') AND (n < 10 OR s.v = 'abc' AND part.v = 'xx');

SELECT concat_ws(E'\t', 'like', v, p, pg_temp.try(format('SELECT %L LIKE %L', v, p)))
FROM unnest(ARRAY['', 'a', 'abc', 'aab', 'a%c', 'a_c', 'a\c', 'äöü', '日本語', 'xabcabcx', 'abab', '100%']) v,
  unnest(ARRAY['', '%', '%%', '_', '__', '___', 'a', 'abc', 'a%', '%c', '%b%', 'a%c', 'a\%c', 'a\_c', 'a\\c', '\a_c', '%abc%c%',
    '_%', '%_', 'ä_ü', '__ü', '%本_', '%ab', 'a%b', '_b%', '%a_', 'a_b', '100\%', '%\%', '%bc%bc%', 'ab%ab', 'ab%bab', '%_b_%']) p;
SELECT concat_ws(E'\t', 'ilike', v, p, pg_temp.try(format('SELECT %L ILIKE %L', v, p)))
FROM unnest(ARRAY['ABC', 'abc', 'aBcD', 'x']) v, unnest(ARRAY['abc', 'A%', '%C', '_b_', '%B%', 'a\BC']) p;

CREATE TEMP TABLE ts(v timestamp);
INSERT INTO ts VALUES ('2000-01-01'), ('1999-12-31 23:59:59.999999'), ('2024-02-29 12:34:56.789012'), ('1970-01-01'),
  ('1969-12-31 23:59:59.5'), ('2001-01-01'), ('2000-12-31 23:59:59'), ('1900-03-01'), ('0001-01-01'), ('0001-12-31 BC'),
  ('0100-06-15 BC'), ('4714-11-24 BC'), ('294276-12-31 23:59:59.999999'), ('2021-01-03'), ('2020-12-31'), ('2023-01-31 10:00'),
  ('infinity'), ('-infinity'), ('1001-05-05'), ('0011-05-05 BC'), ('2015-12-31 00:00:00.000001');
CREATE TEMP TABLE unit(v text);
INSERT INTO unit VALUES ('microseconds'), ('milliseconds'), ('second'), ('minute'), ('hour'), ('day'), ('week'), ('month'),
  ('quarter'), ('year'), ('isoyear'), ('decade'), ('century'), ('millennium'), ('dow'), ('isodow'), ('doy'), ('epoch');
SELECT concat_ws(E'\t', 'extract', u.v, encode(timestamp_send(t.v), 'hex'), pg_temp.try(format('SELECT extract(%s from timestamp %L)', u.v, t.v)))
FROM unit u, ts t;
SELECT concat_ws(E'\t', 'date_part', u.v, encode(timestamp_send(t.v), 'hex'),
  pg_temp.try(format('SELECT encode(float8send(date_part(%L, timestamp %L)), ''hex'')', u.v, t.v)))
FROM unit u, ts t;
SELECT concat_ws(E'\t', 'date_trunc', u.v, encode(timestamp_send(t.v), 'hex'),
  pg_temp.try(format('SELECT encode(timestamp_send(date_trunc(%L, timestamp %L)), ''hex'')', u.v, t.v)))
FROM unit u, ts t WHERE u.v NOT IN ('isoyear', 'dow', 'isodow', 'doy', 'epoch');
CREATE TEMP TABLE i(v interval);
INSERT INTO i VALUES ('1 mon'), ('-1 mon'), ('1 year'), ('30 days'), ('-1 day'), ('1 mon -1 day 01:00'), ('12 mons 400 days -25:00:00.5'),
  ('292000 years'), ('-292000 years'), ('0'), ('2147483647 days'), ('-178000000 years');
SELECT concat_ws(E'\t', f, encode(timestamp_send(t.v), 'hex'), encode(interval_send(i.v), 'hex'),
  pg_temp.try(format('SELECT encode(timestamp_send(timestamp %L %s interval %L), ''hex'')', t.v, CASE f WHEN 'plus' THEN '+' ELSE '-' END, i.v)))
FROM unnest(ARRAY['plus', 'minus']) f, ts t, i;
SELECT concat_ws(E'\t', 'difference', encode(timestamp_send(t.v), 'hex'), encode(timestamp_send(u.v), 'hex'),
  pg_temp.try(format('SELECT encode(interval_send(timestamp %L - timestamp %L), ''hex'')', t.v, u.v)))
FROM ts t, ts u WHERE NOT (extract(year FROM t.v) > 200000 AND extract(year FROM u.v) < -4000) ;
SELECT concat_ws(E'\t', 'interval' || op, encode(interval_send(a.v), 'hex'), encode(interval_send(b.v), 'hex'),
  pg_temp.try(format('SELECT (interval %L %s interval %L)::text', a.v, op, b.v)))
FROM unnest(ARRAY['=', '<']) op, i a, i b;

CREATE TEMP TABLE d(v date);
INSERT INTO d VALUES ('2000-01-01'), ('1999-12-31'), ('2024-02-29'), ('4714-11-24 BC'), ('5874897-12-31'), ('infinity'), ('-infinity'),
  ('0001-01-01'), ('0001-01-01 BC'), ('2021-01-03'), ('294277-01-01'), ('294276-12-31'), ('1970-01-01');
SELECT concat_ws(E'\t', 'extract_date', u.v, encode(date_send(d.v), 'hex'), pg_temp.try(format('SELECT extract(%s from date %L)', u.v, d.v)))
FROM unit u, d WHERE u.v NOT IN ('microseconds', 'milliseconds', 'second', 'minute', 'hour');
SELECT concat_ws(E'\t', f, encode(date_send(d.v), 'hex'), n,
  pg_temp.try(format('SELECT encode(date_send(date %L %s (%s)), ''hex'')', d.v, CASE f WHEN 'date_plus' THEN '+' ELSE '-' END, n)))
FROM unnest(ARRAY['date_plus', 'date_minus']) f, d, unnest(ARRAY[0, 1, -1, 366, -2147483648, 2147483647, 2451545]) n;
SELECT concat_ws(E'\t', 'date_diff', encode(date_send(d.v), 'hex'), encode(date_send(e.v), 'hex'), pg_temp.try(format('SELECT date %L - date %L', d.v, e.v)))
FROM d, d e;
SELECT concat_ws(E'\t', 'date_to_timestamp', encode(date_send(d.v), 'hex'), pg_temp.try(format('SELECT encode(timestamp_send(date %L::timestamp), ''hex'')', d.v)))
FROM d;
SELECT concat_ws(E'\t', 'timestamp_to_date', encode(timestamp_send(t.v), 'hex'), pg_temp.try(format('SELECT encode(date_send(timestamp %L::date), ''hex'')', t.v)))
FROM ts t;
SELECT concat_ws(E'\t', 'date_vs_timestamp' || op, encode(date_send(d.v), 'hex'), encode(timestamp_send(t.v), 'hex'),
  pg_temp.try(format('SELECT (date %L %s timestamp %L)::text', d.v, op, t.v)))
FROM unnest(ARRAY['<', '=', '>=']) op, d, ts t;

CREATE TEMP TABLE f8(v float8);
INSERT INTO f8 VALUES (0), ('-0'), (1), (-1), (0.5), (1.5), (2.5), (-0.5), (-1.5), (-2.5), (0.1), (1e300), (-1e300), (1e-300), (5e-324),
  (1.7976931348623157e308), ('inf'), ('-inf'), ('nan'), (32767.5), (32767.4), (-32768.5), (2147483647.5), (2147483646.5), (9223372036854775807),
  (-9223372036854775808), (3.4e38), (3.5e38), (1e-45), (1e-46), (123.455), (0.005), (0.015), (99.995), (1e17);
SELECT concat_ws(E'\t', 'float8' || op, encode(float8send(a.v), 'hex'), encode(float8send(b.v), 'hex'),
  pg_temp.try(format('SELECT encode(float8send(%L::float8 %s %L::float8), ''hex'')', a.v, op, b.v)))
FROM unnest(ARRAY['+', '-', '*', '/']) op, f8 a, f8 b
WHERE abs(a.v) NOT IN (1.5, 2.5, 32767.5, 32767.4, 32768.5) AND abs(b.v) IN (0, 1, 0.1, 1e300, 1e-300, 'inf', 'nan', 5e-324);
SELECT concat_ws(E'\t', 'float8cmp' || op, encode(float8send(a.v), 'hex'), encode(float8send(b.v), 'hex'),
  pg_temp.try(format('SELECT (%L::float8 %s %L::float8)::text', a.v, op, b.v)))
FROM unnest(ARRAY['=', '<', '<=', '<>', '>', '>=']) op, f8 a, f8 b WHERE a.v IN (0, 1, 'inf', 'nan', '-inf') AND b.v IN (0, -1, 'inf', 'nan');
SELECT concat_ws(E'\t', 'float8::' || t, encode(float8send(a.v), 'hex'), pg_temp.try(format('SELECT (%L::float8::%s)::text', a.v, t)))
FROM unnest(ARRAY['int2', 'int4', 'int8', 'numeric(10,2)', 'numeric(30,4)', 'numeric(4,2)']) t, f8 a;
SELECT concat_ws(E'\t', 'float8::float4', encode(float8send(a.v), 'hex'), pg_temp.try(format('SELECT encode(float4send(%L::float8::float4), ''hex'')', a.v)))
FROM f8 a;

CREATE TEMP TABLE k(v int8);
INSERT INTO k VALUES (0), (1), (-1), (2), (-2), (7), (-7), (32767), (-32768), (2147483647), (-2147483648), (9223372036854775807), (-9223372036854775808), (46341), (3037000500), (16777217);
SELECT concat_ws(E'\t', t || op, a.v, b.v, pg_temp.try(format('SELECT (''%s''::%s %s ''%s''::%s)::text', a.v, t, op, b.v, t)))
FROM unnest(ARRAY['int2', 'int4', 'int8']) t, unnest(ARRAY['+', '-', '*', '/', '%']) op, k a, k b
WHERE (t = 'int8' OR t = 'int4' AND abs(a.v::numeric + 0.5) < 2147483648 AND abs(b.v::numeric + 0.5) < 2147483648
   OR t = 'int2' AND abs(a.v::numeric + 0.5) < 32768 AND abs(b.v::numeric + 0.5) < 32768);
SELECT concat_ws(E'\t', t || f, a.v, pg_temp.try(format('SELECT (%s(''%s''::%s))::text', f, a.v, t)))
FROM unnest(ARRAY['int2', 'int4', 'int8']) t, unnest(ARRAY['-', 'abs']) f, k a
WHERE (t = 'int8' OR t = 'int4' AND abs(a.v::numeric + 0.5) < 2147483648 OR t = 'int2' AND abs(a.v::numeric + 0.5) < 32768);
SELECT concat_ws(E'\t', 'int8::' || t, a.v, pg_temp.try(format('SELECT (''%s''::int8::%s)::text', a.v, t)))
FROM unnest(ARRAY['int2', 'int4', 'text', 'numeric(10,2)', 'numeric(5,0)', 'numeric(30,3)']) t, k a;
SELECT concat_ws(E'\t', 'int8::' || t, a.v, pg_temp.try(format('SELECT encode(%s(''%s''::int8::%s), ''hex'')', t || 'send', a.v, t)))
FROM unnest(ARRAY['float4', 'float8']) t, k a;
SELECT concat_ws(E'\t', 'text::' || t, x, pg_temp.try(format('SELECT (%L::text::%s)::text', x, t)))
FROM unnest(ARRAY['int2', 'int4', 'int8']) t,
  unnest(ARRAY['', ' ', '1', ' 42 ', '+7', '-8', '--1', '1 2', '1x', 'x', '32767', '32768', '-32768', '-32769', '2147483648', '-2147483648',
    '9223372036854775807', '9223372036854775808', '-9223372036854775808', '-9223372036854775809', '99999999999999999999999x', '1.0', '1e3', '0010', '-', '+']) x;

CREATE TEMP TABLE m(v text, p int, s int);
INSERT INTO m VALUES ('0', 1, 0), ('0.00', 3, 2), ('1', 1, 0), ('-1.5', 2, 1), ('0.5', 2, 1), ('2.5', 2, 1), ('-0.05', 3, 2), ('99.995', 5, 3), ('123456789012345678', 18, 0),
  ('-123456789012345.678', 18, 3), ('99999999999999999999.9999', 24, 4), ('32767.5', 6, 1), ('2147483647.5', 11, 1), ('9223372036854775807.4', 20, 1),
  ('9223372036854775807.5', 20, 1), ('-9223372036854775808.4', 20, 1), ('7', 1, 0), ('0.3', 2, 1), ('10.0', 3, 1);
SELECT concat_ws(E'\t', 'numeric' || op, a.v, b.v, pg_temp.try(format('SELECT (%L::numeric %s %L::numeric)::text', a.v, op, b.v)))
FROM unnest(ARRAY['+', '-', '*', '%', '=', '<', '<=', '>']) op, m a, m b;
SELECT concat_ws(E'\t', 'numeric::' || t, a.v, pg_temp.try(format('SELECT (%L::numeric::%s)::text', a.v, t)))
FROM unnest(ARRAY['int2', 'int4', 'int8', 'numeric(10,2)', 'numeric(4,1)', 'numeric(38,6)', 'numeric(20,0)', 'text']) t, m a;
SELECT concat_ws(E'\t', 'numeric::' || t, a.v, pg_temp.try(format('SELECT encode(%s(%L::numeric::%s), ''hex'')', t || 'send', a.v, t)))
FROM unnest(ARRAY['float4', 'float8']) t, m a;
SELECT concat_ws(E'\t', 'numeric' || f, a.v, pg_temp.try(format('SELECT (%s(%L::numeric))::text', f, a.v)))
FROM unnest(ARRAY['-', 'abs']) f, m a;
