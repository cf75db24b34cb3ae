//! A client of the HTTP API, and users who are logged in.

use protocol::{
    Role, RoomId, UserId,
    token::{Access, Verifier},
};
use reqwest::{Method, RequestBuilder, StatusCode, header::HeaderMap};
use serde_json::{Value, json};

use crate::{Gateway, Socket, System};

/// An HTTP response with its body.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    /// Sends a request and reads the response.
    pub async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Self { status, headers, body }
    }

    /// The body. Panics unless the status is a success.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert!(self.status.is_success(), "{} {}", self.status, self.body);
        self.body
    }

    /// Asserts that this is a problem document with this status and code, and with all its fields.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) {
        assert_eq!(
            (self.status.as_u16(), self.body["code"].as_str()),
            (status, Some(code)),
            "{}",
            self.body
        );
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.body["status"], status);
        assert!(self.headers.contains_key("x-request-id"));
        for field in ["type", "title", "detail"] {
            assert!(self.body[field].is_string(), "{field}: {}", self.body);
        }
    }
}

/// A user who is logged in.
#[derive(Clone)]
pub struct User {
    http: reqwest::Client,
    base: String,
    pub name: String,
    pub id: UserId,
    pub access: String,
    pub refresh: String,
}

/// The password of every user.
pub const PASSWORD: &str = "correct horse battery";

/// The HTTP API at an address, without a user.
#[derive(Clone)]
pub struct Api {
    pub http: reqwest::Client,
    /// `http://host:port`.
    pub base: String,
}

impl Api {
    /// Follows no redirects, so that tests can look at them.
    pub fn new(base: &str) -> Self {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        Self { http: http.build().unwrap(), base: base.to_owned() }
    }

    /// A request without a token.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    /// A POST of JSON without a token.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        Answer::of(self.request(Method::POST, path).json(&body)).await
    }

    /// Signs up and logs in.
    pub async fn user(&self, name: &str) -> User {
        self.post("/user", json!({ "name": name, "password": PASSWORD })).await.ok();
        self.login(name).await
    }

    /// Logs in: a new session of an existing user.
    pub async fn login(&self, name: &str) -> User {
        let body = json!({ "name": name, "password": PASSWORD });
        let tokens = self.post("/login", body).await.ok();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        User {
            http: self.http.clone(),
            base: self.base.clone(),
            name: name.to_owned(),
            id: text(&tokens["user"]["id"]).parse().unwrap(),
            access: text(&tokens["accessToken"]),
            refresh: text(&tokens["refreshToken"]),
        }
    }

    /// Uploads a declared file as a browser does; returns the storage's status.
    pub async fn upload(&self, declared: &Value, content: &[u8]) -> StatusCode {
        let upload = &declared["upload"];
        assert_eq!(upload["method"], "PUT");
        let mut put = self.http.put(upload["url"].as_str().unwrap()).body(content.to_owned());
        for (name, value) in upload["headers"].as_object().unwrap() {
            put = put.header(name, value.as_str().unwrap());
        }
        put.send().await.unwrap().status()
    }
}

impl System {
    fn api(&self) -> Api {
        Api { http: self.http.clone(), base: self.base.clone() }
    }

    /// A request without a token.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.api().request(method, path)
    }

    /// A POST of JSON without a token.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.api().post(path, body).await
    }

    /// Signs up and logs in.
    pub async fn user(&self, name: &str) -> User {
        self.api().user(name).await
    }

    /// Logs in: a new session of an existing user.
    pub async fn login(&self, name: &str) -> User {
        self.api().login(name).await
    }

    /// Uploads a declared file as a browser does; returns the storage's status.
    pub async fn upload(&self, declared: &Value, content: &[u8]) -> StatusCode {
        self.api().upload(declared, content).await
    }

    /// The claims of a user's access token.
    pub fn claims(&self, user: &User) -> Access {
        Verifier::new(self.minter.jwks()).access(&user.access).unwrap()
    }

    /// A ticket that is signed here, without asking the functions. They might refuse it.
    pub fn ticket(&self, user: &User, room: RoomId, role: Role) -> String {
        self.ticket_since(user, room, role, 0)
    }

    /// The same for a version of the membership.
    pub fn ticket_since(&self, user: &User, room: RoomId, role: Role, version: u64) -> String {
        let name = user.name.parse().unwrap();
        self.minter.ticket(&self.claims(user), name, room, role, version).unwrap()
    }
}

impl User {
    /// A request with the access token.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.access)
    }

    pub async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        Answer::of(self.request(Method::POST, path).json(&body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::DELETE, path)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        Answer::of(self.request(Method::PATCH, path).json(&body)).await
    }

    pub async fn delete_with(&self, path: &str, body: Value) -> Answer {
        Answer::of(self.request(Method::DELETE, path).json(&body)).await
    }

    /// The same user with another instance of the functions.
    pub fn at(&self, base: &str) -> Self {
        Self { base: base.to_owned(), ..self.clone() }
    }

    /// Sends a message over HTTP and returns its seq.
    pub async fn post_message(&self, room: &str, msg: &str) -> u64 {
        let body = json!({ "id": uuid::Uuid::now_v7(), "msg": msg });
        let sent = self.post(&format!("/room/{room}/message"), body).await.ok();
        sent["seq"].as_u64().unwrap()
    }

    /// Creates a room and returns its id.
    pub async fn create_room(&self, name: &str) -> RoomId {
        let room = self.post("/room", json!({ "name": name })).await.ok();
        room["id"].as_str().unwrap().parse().unwrap()
    }

    /// Enters a room; the response holds the ticket.
    pub async fn enter(&self, room: &str) -> Value {
        self.get(&format!("/room/{room}")).await.ok()
    }

    /// Connects to a gateway.
    pub async fn connect(&self, gateway: &Gateway) -> Socket {
        Socket::connect(&gateway.base, &self.access).await
    }

    /// Enters a room over HTTP and returns the data of `join-room`.
    pub async fn join_data(&self, room: &str, after: Option<u64>) -> Value {
        let entered = self.enter(room).await;
        let mut data = json!({
            "roomId": entered["room"]["id"],
            "userId": self.id.to_string(),
            "ticket": entered["ticket"],
        });
        if let Some(after) = after {
            data["after"] = after.into();
        }
        data
    }

    /// Connects to a gateway and joins a room there. Returns the acknowledgement too.
    pub async fn join(&self, gateway: &Gateway, room: &str) -> (Socket, Value) {
        let mut socket = self.connect(gateway).await;
        let joined = socket.ok("join-room", self.join_data(room, None).await).await;
        (socket, joined)
    }
}
