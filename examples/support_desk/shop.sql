-- The shop's own books.  The desk reads the first three tables and writes the last two.

CREATE TABLE customer (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    email TEXT NOT NULL UNIQUE
);

CREATE TABLE "order" (
    number INTEGER PRIMARY KEY,
    customer INTEGER NOT NULL REFERENCES customer (id),
    status TEXT NOT NULL CHECK (status IN ('open', 'shipped', 'lost', 'delivered', 'subscription')),
    paid_cents INTEGER NOT NULL,
    days_late INTEGER NOT NULL DEFAULT 0,
    delivered_days_ago INTEGER
);

CREATE TABLE item (
    "order" INTEGER NOT NULL REFERENCES "order" (number),
    name TEXT NOT NULL,
    quantity INTEGER NOT NULL,
    cents INTEGER NOT NULL,
    known_fault TEXT NOT NULL DEFAULT ''
);

-- Effects: one decision an order, and one a key.
CREATE TABLE decision (
    key TEXT PRIMARY KEY,
    "order" INTEGER NOT NULL UNIQUE REFERENCES "order" (number),
    label TEXT NOT NULL,
    verdict TEXT NOT NULL CHECK (verdict IN ('refund', 'replace', 'escalate', 'answer')),
    reply TEXT NOT NULL
);

-- Attempts: every execution of the tool, also one that found its decision made already.
CREATE TABLE attempt (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    "order" INTEGER NOT NULL
);

INSERT INTO customer (id, name, email) VALUES
    (1, 'Anna Kowalska', 'a.kowalska@example.org'),
    (2, 'Theo Hartmann', 'accounts@hartmann-design.example'),
    (3, 'Jun Lee', 'lee.j@example.org'),
    (4, 'Marco Ferreira', 'm.ferreira@example.org'),
    (5, 'Gwen Parry', 'gwen.p@example.org'),
    (6, 'Samir Belkacem', 'samir.b@example.org'),
    (7, 'Ruth Oduya', 'ruth.oduya@example.org'),
    (8, 'Ivan Horvat', 'ivan.h@example.org'),
    (9, 'Claire Dubois', 'claire.d@example.org'),
    (10, 'Tom Becker', 'tom.becker@example.org'),
    (11, 'Noor Aziz', 'noor.a@example.org'),
    (12, 'Peter Lindqvist', 'peter.lindqvist@example.org'),
    (13, 'Yuki Tanaka', 'yuki.t@example.org'),
    (14, 'Dominik Suter', 'dominik.s@example.org'),
    (15, 'Helen Marsh', 'helen.marsh@example.org'),
    (16, 'Kofi Osei', 'k.osei@example.org'),
    (17, 'Sofia Rossi', 'sofia.r@example.org'),
    (18, 'Ben Whitaker', 'ben.whitaker@example.org'),
    (19, 'Ewa Nowak', 'e.nowak@example.org'),
    (20, 'Fatima Zahra', 'fatima.z@example.org'),
    (21, 'Oliver King', 'oliver.k@example.org'),
    (22, 'Marta Vidal', 'marta.v@example.org'),
    (23, 'Jan van Dam', 'j.vandam@example.org'),
    (24, 'Luca Bianchi', 'luca.b@example.org');

INSERT INTO "order" (number, customer, status, paid_cents, days_late, delivered_days_ago) VALUES
    (4101, 1, 'delivered', 17980, 0, 6),
    (4102, 2, 'delivered', 34000, 0, 12),
    (4103, 3, 'shipped', 12900, 0, NULL),
    (4104, 4, 'delivered', 6150, 0, 3),
    (4105, 5, 'shipped', 3990, 5, NULL),
    (4106, 6, 'lost', 7450, 2, NULL),
    (4107, 7, 'shipped', 4590, 0, NULL),
    (4108, 8, 'lost', 21900, 19, NULL),
    (4109, 9, 'delivered', 9900, 0, 4),
    (4110, 10, 'delivered', 6900, 0, 2),
    (4111, 11, 'delivered', 11900, 0, 8),
    (4112, 12, 'delivered', 5900, 0, 170),
    (4113, 13, 'delivered', 7900, 0, 21),
    (4114, 14, 'delivered', 14900, 0, 90),
    (4115, 15, 'delivered', 5900, 0, 5),
    (4116, 16, 'delivered', 44900, 0, 61),
    (4117, 17, 'delivered', 2900, 0, 30),
    (4118, 18, 'delivered', 5500, 0, 45),
    (4119, 19, 'delivered', 1990, 0, 200),
    (4120, 20, 'shipped', 8900, 0, NULL),
    (4121, 21, 'open', 15700, 0, NULL),
    (4122, 22, 'open', 3490, 0, NULL),
    (4123, 23, 'shipped', 238800, 0, NULL),
    (4124, 24, 'subscription', 1890, 0, NULL);

INSERT INTO item ("order", name, quantity, cents, known_fault) VALUES
    (4101, 'coffee grinder', 1, 8990, ''),
    (4102, 'drawing table', 1, 34000, ''),
    (4103, 'rain jacket', 1, 12900, ''),
    (4104, 'tea set', 1, 5400, ''),
    (4105, 'board game', 1, 3990, ''),
    (4106, 'toaster', 1, 7450, ''),
    (4107, 'kettle', 1, 4590, ''),
    (4108, 'sewing machine', 1, 21900, ''),
    (4109, 'desk lamp', 1, 9900, ''),
    (4110, 'backpack', 1, 6900, ''),
    (4111, 'running shoes', 1, 11900, ''),
    (4112, 'wool blanket', 1, 5900, ''),
    (4113, 'bluetooth speaker', 1, 7900, 'radio module of the first series'),
    (4114, 'e-reader', 1, 14900, 'update 2.1 stops at the logo'),
    (4115, 'indoor camera', 1, 5900, ''),
    (4116, 'coffee machine', 1, 44900, 'pump seal, error E14'),
    (4117, 'phone cover', 1, 2900, ''),
    (4118, 'cookbook', 2, 2750, ''),
    (4119, 'tea towel', 1, 1990, ''),
    (4120, 'yoga mat', 1, 8900, ''),
    (4121, 'shirt', 3, 3900, ''),
    (4121, 'belt', 1, 4000, ''),
    (4122, 'bicycle pump', 1, 3490, ''),
    (4123, 'office chair', 12, 19900, ''),
    (4124, 'coffee beans, monthly', 1, 1890, '');
