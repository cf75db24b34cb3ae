//! Bounds the exports that run at once in this process: one per user, and a number for all.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use protocol::UserId;

use crate::error::ApiError;

/// The users whose export runs; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct ExportSlots(Arc<Mutex<HashSet<UserId>>>);

/// One running export, until it is dropped.
#[derive(Debug)]
pub struct ExportSlot {
    exports: ExportSlots,
    user: UserId,
}

impl ExportSlots {
    /// One per user, and `limit` in the process; 0 for any number.
    pub fn begin(&self, user: UserId, limit: usize) -> Result<ExportSlot, ApiError> {
        let mut users = self.users();
        if users.contains(&user) {
            return Err(ApiError::ExportRunning);
        }
        if limit > 0 && users.len() >= limit {
            return Err(ApiError::TooManyExports);
        }
        users.insert(user);
        Ok(ExportSlot { exports: self.clone(), user })
    }

    fn users(&self) -> MutexGuard<'_, HashSet<UserId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ExportSlot {
    fn drop(&mut self) {
        self.exports.users().remove(&self.user);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_one_and_the_process_its_limit() {
        let exports = ExportSlots::default();
        let (ada, bob, eve) = (UserId::generate(), UserId::generate(), UserId::generate());
        let first = exports.begin(ada, 2).unwrap();
        assert!(matches!(exports.begin(ada, 2), Err(ApiError::ExportRunning)));
        let _second = exports.begin(bob, 2).unwrap();
        assert!(matches!(exports.begin(eve, 2), Err(ApiError::TooManyExports)));
        drop(first);
        let _third = exports.begin(eve, 2).unwrap();
        exports.begin(ada, 0).unwrap();
    }
}
