//! Calls every operation of the HTTP API, so that every statement behind it is executed.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use stories::{Answer, PASSWORD, System, User};

/// PostgreSQL makes a plan for the parameters of the first five executions, and may use a generic plan
/// from the sixth on. Both must be seen.
const TIMES: usize = 7;

/// A walk through the API. Calls of operations that the API does not have are skipped.
pub struct ApiWalk {
    system: System,
    /// Method and path of every operation, as `/openapi.json` has them.
    operations: BTreeSet<(String, String)>,
    called: BTreeSet<(String, String)>,
}

impl ApiWalk {
    pub async fn new(system: System) -> Self {
        let api = Answer::of(system.request(Method::GET, "/openapi.json")).await.ok();
        let operations = api["paths"].as_object().unwrap().iter().flat_map(|(path, operations)| {
            // The web page needs no database.
            let is_function = |operation: &Value| operation["tags"][0] != "pages";
            let methods = operations.as_object().unwrap().iter();
            methods
                .filter(move |(_, operation)| is_function(operation))
                .map(|(method, _)| (method.to_uppercase(), path.clone()))
        });
        Self { system, operations: operations.collect(), called: BTreeSet::new() }
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
        // Sets are sorted: `/room/new` comes before `/room/{name}`.
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
            // A cursor replaces these two parameters.
            let is_kept = |part: &&str| !part.starts_with("before=") && !part.starts_with("after=");
            let mut query: Vec<&str> = query.split('&').filter(is_kept).collect();
            let cursor = format!("cursor={cursor}");
            query.push(&cursor);
            self.get(user, &format!("{path}?{}", query.join("&"))).await;
        }
    }
}

async fn accounts(walk: &mut ApiWalk) {
    let password = PASSWORD;
    let cyd = walk.system.user("cyd").await;
    walk.post(&cyd, "/user", json!({ "name": "dan", "password": password })).await;
    walk.post(&cyd, "/login", json!({ "name": "dan", "password": password })).await;
    walk.get(&cyd, "/user").await;
    walk.patch(&cyd, "/user", json!({ "displayName": "Cyd C." })).await;
    let again = walk.system.login("cyd").await;
    walk.get(&cyd, "/user/session").await;
    let session = walk.system.claims(&again).session;
    walk.delete(&cyd, &format!("/user/session/{session}"), None).await;
    walk.get(&cyd, "/user/export").await;
    let refresh = json!({ "refreshToken": cyd.refresh });
    let next = walk.post(&cyd, "/login/refresh", refresh.clone()).await;
    // The same token again within the grace period, then its successor.
    walk.post(&cyd, "/login/refresh", refresh.clone()).await;
    let next = json!({ "refreshToken": next["refreshToken"] });
    walk.post(&cyd, "/login/refresh", next).await;
    walk.system.post("/login/refresh", refresh).await.problem(401, "refresh-reused");
    let dan = walk.system.login("dan").await;
    walk.post(&dan, "/logout", json!({})).await;
    let dan = walk.system.login("dan").await;
    let new = json!({ "password": "another one", "currentPassword": password });
    walk.patch(&dan, "/user", new).await;
}

async fn rooms(walk: &mut ApiWalk, ada: &User, bob: &User) {
    walk.post(ada, "/room", json!({ "name": "lobby" })).await;
    for list in [
        "/room",
        "/room?limit=200",
        "/room?mine=true",
        "/room?mine=true&limit=200",
        "/room?mine=true&sort=name",
        "/room?mine=true&sort=name&limit=200",
        "/room?query=oom-12",
        "/room?query=c4ca4238",
        "/room?query=1f",
        "/room?query=nowhere-at-all",
        // In no room, and too short for the index, which holds sequences of three characters.
        "/room?query=zq",
        "/room?query=힣",
        "/room?query=oom-12&mine=true",
        "/room?query=oom-12&mine=true&sort=name",
        "/room/room-1/member",
        "/room/room-1/member?limit=200",
    ] {
        walk.pages(ada, list).await;
    }
    walk.get(ada, "/room/room-1").await;
    walk.get(bob, "/room/lobby").await;
    walk.patch(ada, "/room/lobby", json!({ "title": "The lobby" })).await;
    walk.get(ada, "/room/lobby/member").await;
    walk.system.user("eve").await;
    let eve = walk.post(ada, "/room/lobby/member", json!({ "name": "eve" })).await;
    let member = format!("/room/lobby/member/{}", bob.id);
    walk.patch(ada, &member, json!({ "role": "moderator" })).await;
    walk.delete(ada, &format!("{member}?ban=true"), None).await;
    drop(eve);
    walk.post(ada, "/room/lobby/broadcast", json!({ "msg": "tea is ready" })).await;
    // This room has thousands of messages, members and files.
    walk.delete(ada, "/room/room-2", None).await;
}

async fn messages(walk: &mut ApiWalk, ada: &User) {
    for room in ["lobby", "room-1"] {
        for _ in 0..TIMES {
            let message = json!({ "id": uuid::Uuid::now_v7(), "msg": "hello" });
            walk.post(ada, &format!("/room/{room}/message"), message).await;
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
        walk.pages(ada, &format!("/room/room-1/message{page}")).await;
    }
}

async fn files(walk: &mut ApiWalk, ada: &User) {
    let new = json!({ "name": "a.txt", "size": 1, "type": "text/plain" });
    let declared = walk.post(ada, "/room/lobby/file", new).await;
    let file = format!("/file/{}", declared["file"]["id"].as_str().unwrap());
    walk.get(ada, &format!("{file}/upload")).await;
    assert!(walk.system.upload(&declared, b"a").await.is_success());
    walk.post(ada, &format!("{file}/complete"), json!({})).await;
    walk.get(ada, &file).await;
    walk.delete(ada, &file, None).await;
}

/// Archives everything, then deletes the rooms and accounts with all that belongs to them.
async fn archive_and_delete(walk: &mut ApiWalk, ada: &User, bob: &User) {
    while walk.system.archive_once().await > 0 {}
    for path in ["/healthz", "/readyz", "/.well-known/jwks.json"] {
        walk.get(ada, path).await;
    }
    walk.get(ada, "/user/export").await;
    walk.delete(ada, "/room/lobby", None).await;
    walk.delete(bob, "/user", Some(json!({ "password": PASSWORD }))).await;
    walk.system.archive_once().await;
}

impl ApiWalk {
    /// Calls all operations; panics if the API has one that is not called here.
    pub async fn call_everything(&mut self, ada: &User, bob: &User) {
        accounts(self).await;
        rooms(self, ada, bob).await;
        messages(self, ada).await;
        files(self, ada).await;
        archive_and_delete(self, ada, bob).await;
        let missing: Vec<_> = self.operations.difference(&self.called).collect();
        assert!(missing.is_empty(), "operations that this test does not call: {missing:?}");
    }
}
