//! No statement reads more as the database grows: the plans of all of them, on one that is filled.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use stories::{Answer, Database, Fault, Plans, User, World};

const FILL: &str = include_str!("../../../bench/sql/fill.sql");
/// More members than a page, and more messages and members in `room-1` than a plan may look at.
const SIZES: [(&str, &str); 4] = [
    ("{accounts}", "5000"),
    ("{rooms}", "10000"),
    ("{members}", "50000"),
    ("{messages}", "100000"),
];
/// `$1` is in 300 rooms, owns the biggest one and has read none of them. Much is owed and doomed.
const BUSY: &str = "
    INSERT INTO member (room_id, user_id, role, joined_at)
    SELECT id, $1, CASE WHEN name = 'room-1' THEN 'owner' ELSE 'member' END, now() FROM room
    WHERE name IN (SELECT 'room-' || n FROM generate_series(1, 300) n) ON CONFLICT DO NOTHING";
const OWED: &str = "
    INSERT INTO outbox (id, subject, payload, created_at)
    SELECT gen_random_uuid(), '$KV.revoked.session.' || gen_random_uuid(), '', now() - interval '1 hour'
    FROM generate_series(1, 3000)";
const DOOMED: &str = "
    INSERT INTO doomed_object (object_key, doomed_at, due_at)
    SELECT 'gone/' || n, now(), CASE WHEN n > 5 THEN now() + interval '1 hour' END
    FROM generate_series(1, 3000) n";

/// What may look at many rows: a part of the statement, the node of its plan, and why.
const WHOLE: &[(&str, &str, &str)] = &[
    ("DELETE FROM ONLY \"public\".", "", "what a deleted room or account had goes with it"),
    ("WHERE room_id = $1 ORDER BY seq LIMIT $2)", "", "a deleted room goes in steps of 2,000 rows"),
    ("WHERE room_id = $1 ORDER BY target LIMIT $2)", "", "the same"),
    ("WHERE room_id = $1 LIMIT $2)", "", "the same"),
    ("AS unread", "Index Scan on message", "of each room on the page up to 100 are counted"),
    ("FROM active_member o JOIN room r", "Sort by", "the caller's own rooms are put in order"),
];

/// A statement is planned for its parameters five times; then the plan for any may take its place.
const TIMES: usize = 7;

/// Walks through the API; what it does not have yet is passed over.
struct Tour {
    world: World,
    /// Method and path of every operation, as `/openapi.json` has them.
    operations: BTreeSet<(String, String)>,
    called: BTreeSet<(String, String)>,
}

impl Tour {
    async fn new(world: World) -> Self {
        let api = Answer::of(world.request(Method::GET, "/openapi.json")).await.ok();
        let operations = api["paths"].as_object().unwrap().iter().flat_map(|(path, operations)| {
            // A page asks no database.
            let is_function = |operation: &Value| operation["tags"][0] != "pages";
            let methods = operations.as_object().unwrap().iter();
            methods
                .filter(move |(_, operation)| is_function(operation))
                .map(|(method, _)| (method.to_uppercase(), path.clone()))
        });
        Self { world, operations: operations.collect(), called: BTreeSet::new() }
    }

    fn operation(&self, method: &Method, path: &str) -> Option<(String, String)> {
        let path = path.split('?').next().unwrap();
        let fits = |template: &str| {
            let (mut parts, mut of_path) = (template.split('/'), path.split('/'));
            template.split('/').count() == path.split('/').count()
                && parts.all(|part| {
                    of_path.next().is_some_and(|of| part == of || part.starts_with('{'))
                })
        };
        let mut operations = self.operations.iter();
        // In a set, `/room/new` is before `/room/{name}`.
        operations.find(|(of, template)| of == method.as_str() && fits(template)).cloned()
    }

    async fn call(
        &mut self,
        user: &User,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Value {
        let Some(operation) = self.operation(&method, path) else { return Value::Null };
        let times = if method == Method::GET { TIMES } else { 1 };
        let mut last = Value::Null;
        for _ in 0..times {
            let mut request = user.request(method.clone(), path);
            if let Some(body) = &body {
                request = request.json(body);
            }
            let answer = Answer::of(request).await;
            let is_fine = answer.status.is_success() || answer.status.is_redirection();
            assert!(is_fine, "{method} {path}: {} {}", answer.status, answer.body);
            last = answer.body;
        }
        self.called.insert(operation);
        last
    }

    async fn get(&mut self, user: &User, path: &str) -> Value {
        self.call(user, Method::GET, path, None).await
    }

    async fn post(&mut self, user: &User, path: &str, body: Value) -> Value {
        self.call(user, Method::POST, path, Some(body)).await
    }

    async fn patch(&mut self, user: &User, path: &str, body: Value) -> Value {
        self.call(user, Method::PATCH, path, Some(body)).await
    }

    async fn delete(&mut self, user: &User, path: &str, body: Option<Value>) -> Value {
        self.call(user, Method::DELETE, path, body).await
    }

    /// The first page of a list and the one after it.
    async fn pages(&mut self, user: &User, path: &str) {
        let first = self.get(user, path).await;
        if let Some(cursor) = first["next"].as_str() {
            let (path, query) = path.split_once('?').unwrap_or((path, ""));
            // A cursor stands in the place of these two.
            let is_kept = |part: &&str| !part.starts_with("before=") && !part.starts_with("after=");
            let mut query: Vec<&str> = query.split('&').filter(is_kept).collect();
            let cursor = format!("cursor={cursor}");
            query.push(&cursor);
            self.get(user, &format!("{path}?{}", query.join("&"))).await;
        }
    }
}

async fn accounts(tour: &mut Tour) {
    let password = stories::PASSWORD;
    let cyd = tour.world.user("cyd").await;
    tour.post(&cyd, "/user", json!({ "name": "dan", "password": password })).await;
    tour.post(&cyd, "/login", json!({ "name": "dan", "password": password })).await;
    tour.get(&cyd, "/user").await;
    tour.patch(&cyd, "/user", json!({ "displayName": "Cyd C." })).await;
    let again = tour.world.login("cyd").await;
    tour.get(&cyd, "/user/session").await;
    let session = tour.world.claims(&again).session;
    tour.delete(&cyd, &format!("/user/session/{session}"), None).await;
    tour.get(&cyd, "/user/export").await;
    let refresh = json!({ "refreshToken": cyd.refresh });
    let next = tour.post(&cyd, "/login/refresh", refresh.clone()).await;
    // The same answer again, and the one after it.
    tour.post(&cyd, "/login/refresh", refresh.clone()).await;
    let next = json!({ "refreshToken": next["refreshToken"] });
    tour.post(&cyd, "/login/refresh", next).await;
    tour.world.post("/login/refresh", refresh).await.problem(401, "refresh-reused");
    let dan = tour.world.login("dan").await;
    tour.post(&dan, "/logout", json!({})).await;
    let dan = tour.world.login("dan").await;
    let new = json!({ "password": "another one", "currentPassword": password });
    tour.patch(&dan, "/user", new).await;
}

async fn rooms(tour: &mut Tour, ada: &User, bob: &User) {
    tour.post(ada, "/room", json!({ "name": "lobby" })).await;
    for list in [
        "/room",
        "/room?limit=200",
        "/room?mine=true",
        "/room?mine=true&limit=200",
        "/room?query=oom-12",
        "/room?query=c4ca4238",
        "/room?query=1f",
        "/room?query=nowhere-at-all",
        // In no room, and too short for three characters of it to be an index's.
        "/room?query=zq",
        "/room?query=힣",
        "/room?query=oom-12&mine=true",
        "/room/room-1/member",
        "/room/room-1/member?limit=200",
    ] {
        tour.pages(ada, list).await;
    }
    tour.get(ada, "/room/room-1").await;
    tour.get(bob, "/room/lobby").await;
    tour.patch(ada, "/room/lobby", json!({ "title": "The lobby" })).await;
    tour.get(ada, "/room/lobby/member").await;
    tour.world.user("eve").await;
    let eve = tour.post(ada, "/room/lobby/member", json!({ "name": "eve" })).await;
    let member = format!("/room/lobby/member/{}", bob.id);
    tour.patch(ada, &member, json!({ "role": "moderator" })).await;
    tour.delete(ada, &format!("{member}?ban=true"), None).await;
    drop(eve);
    tour.post(ada, "/room/lobby/broadcast", json!({ "msg": "tea is ready" })).await;
    // With thousands of messages, members and files in it.
    tour.delete(ada, "/room/room-2", None).await;
}

async fn messages(tour: &mut Tour, ada: &User) {
    for room in ["lobby", "room-1"] {
        for _ in 0..TIMES {
            let message = json!({ "id": uuid::Uuid::now_v7(), "msg": "hello" });
            tour.post(ada, &format!("/room/{room}/message"), message).await;
        }
    }
    for page in [
        "",
        "?limit=200",
        "?before=50000",
        "?after=50000",
        "?after=0&limit=200",
        "/search?q=fox",
        "/search?q=안녕",
        "/search?q=반갑습니다",
        "/search?q=c4ca4238",
        "/search?q=nowhere at all",
        "/search?q=zq",
        "/search?q=힣힣",
    ] {
        tour.pages(ada, &format!("/room/room-1/message{page}")).await;
    }
}

async fn files(tour: &mut Tour, ada: &User) {
    let new = json!({ "name": "a.txt", "size": 1, "type": "text/plain" });
    let declared = tour.post(ada, "/room/lobby/file", new).await;
    let file = format!("/file/{}", declared["file"]["id"].as_str().unwrap());
    tour.get(ada, &format!("{file}/upload")).await;
    assert!(tour.world.put(&declared, b"a").await.is_success());
    tour.post(ada, &format!("{file}/complete"), json!({})).await;
    tour.get(ada, &file).await;
    tour.delete(ada, &file, None).await;
}

/// Everything is run once more for whoever it belongs to, and goes with them.
async fn ends(tour: &mut Tour, ada: &User, bob: &User) {
    while tour.world.archive_once().await > 0 {}
    for path in ["/healthz", "/readyz", "/.well-known/jwks.json"] {
        tour.get(ada, path).await;
    }
    tour.get(ada, "/user/export").await;
    tour.delete(ada, "/room/lobby", None).await;
    tour.delete(bob, "/user", Some(json!({ "password": stories::PASSWORD }))).await;
    tour.world.archive_once().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_statement_reads_more_as_the_database_grows() {
    let world = World::new(Database::Postgres).await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let url = world.variables()["DATABASE_URL"].clone();
    let mut admin = PgConnection::connect(&url).await.unwrap();
    let fill = SIZES.iter().fold(FILL.to_owned(), |fill, (name, n)| fill.replace(name, n));
    admin.execute(AssertSqlSafe(fill)).await.unwrap();
    for statement in [BUSY, "UPDATE room SET creator_id = $1 WHERE name = 'room-2'"] {
        sqlx::query(statement).bind(ada.id.as_uuid()).execute(&mut admin).await.unwrap();
    }
    for statement in [OWED, DOOMED, "VACUUM ANALYZE"] {
        admin.execute(statement).await.unwrap();
    }
    admin.close().await.unwrap();

    let plans = Plans::watch(&url).await;
    let mut tour = Tour::new(world).await;
    accounts(&mut tour).await;
    rooms(&mut tour, &ada, &bob).await;
    messages(&mut tour, &ada).await;
    files(&mut tour, &ada).await;
    ends(&mut tour, &ada, &bob).await;
    let missing: Vec<_> = tour.operations.difference(&tour.called).collect();
    assert!(missing.is_empty(), "operations that this story does not call: {missing:?}");

    // One that is bad, so that it is known that such are found.
    const BAD: &str = "SELECT id FROM message ORDER BY at LIMIT 1";
    plans.run(BAD).await;
    let (statements, mut faults) = plans.faults().await;
    assert!(statements > 30, "only {statements} statements were seen");
    assert!(faults.iter().any(|fault| fault.statement == BAD), "the bad one was not found");
    faults.retain(|fault| fault.statement != BAD);
    faults.retain(|fault| {
        let is =
            |part: &str, node: &str| fault.statement.contains(part) && fault.node.starts_with(node);
        !WHOLE.iter().any(|(part, node, _)| is(part, node))
    });
    assert!(faults.is_empty(), "{}", listed(&faults));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locale_without_letters_is_noticed() {
    use store::db::{self, Database as Db};
    let world = World::new(Database::Postgres).await;
    let url = &world.variables()["DATABASE_URL"];
    let (server, name) = url.rsplit_once('/').unwrap();
    let plain = format!("{name}_c");
    let make = format!("CREATE DATABASE {plain} TEMPLATE template0 LC_CTYPE 'C' LC_COLLATE 'C'");
    world.sql(&make).await;
    for (url, knows_letters) in [(url.clone(), true), (format!("{server}/{plain}"), false)] {
        let database = Db::connect(&url).await.unwrap();
        db::migrate(&database).await.unwrap();
        assert_eq!(db::indexes_all_scripts(&database).await.unwrap(), knows_letters, "{url}");
        database.close().await;
    }
}

fn listed(faults: &[Fault]) -> String {
    let lines: Vec<String> = faults.iter().map(|fault| format!("\n- {fault}")).collect();
    lines.concat()
}
