-- SPDX-License-Identifier: Apache-2.0
-- What sold, by category and state of the order.
SELECT p.category, count(DISTINCT o.id) AS orders, sum(l.quantity) AS pieces, sum(l.quantity * l.price) AS revenue
FROM orders o JOIN order_line l ON l.order_id = o.id JOIN product p ON p.id = l.product
WHERE o.status <> 'returned'
GROUP BY p.category ORDER BY revenue DESC LIMIT 5;
