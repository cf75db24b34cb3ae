//! Accounts: sign-up, login, sessions, refresh tokens, deletion, and the limits on passwords.

mod deletion_and_export;
mod password_floods;
mod password_guessing;
mod refresh_tokens;
mod sessions;
mod sign_up_and_login;
