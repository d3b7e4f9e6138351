-- SPDX-License-Identifier: Apache-2.0
-- One customer's business: a new order with three lines, an older one on its way, now and then one cancelled.
\set product random(1, 997)
\set quantity random(1, 5)
\set older random(1, :orders)
\set dice random(1, 10)
BEGIN;
INSERT INTO shop.orders (customer, status, placed) VALUES (:older % 5000, 'new', now()) RETURNING id AS fresh \gset
INSERT INTO shop.order_line SELECT :fresh, n, p.id, :quantity, p.price
    FROM generate_series(1, 3) n JOIN shop.product p ON p.id = :product + n;
UPDATE shop.orders SET status = 'sent' WHERE id = :older;
UPDATE shop.order_line SET quantity = quantity + 1 WHERE order_id = :older AND n = 1;
\if :dice = 1
DELETE FROM shop.order_line WHERE order_id = :older;
DELETE FROM shop.orders WHERE id = :older;
\endif
COMMIT;
