//! The two people whom a sandbox knows beside its company: they sign in by password, by page or by one-time password.

use crate::errors::Refusal;
use crate::form::Form;
use crate::ids::Seed;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// A person who can sign in.
#[derive(Clone)]
pub struct User {
    /// What the person signs in with, in the shape of an e-mail address.
    pub login: String,
    /// The password.
    pub password: String,
    /// Who the person is; `sub` in the tokens.
    pub uuid: String,
}

/// How often a password may be wrong in a row before the account is locked.
const MOST_WRONG: u32 = 5;

const LOCKED: u32 = 14;

const LOGINS: [&str; 2] = ["ann@example.com", "bob@example.com"];

pub(crate) struct Users {
    all: Vec<User>,
    /// For each of them, how many wrong passwords there were since the last right one.
    wrong: Mutex<Vec<u32>>,
}

impl Users {
    pub(crate) fn new(seed: &Seed) -> Users {
        let mut ids = seed.stream("users");
        let all =
            LOGINS.map(|login| User { login: login.to_owned(), uuid: ids.next(), password: ids.next() });
        Users { all: all.to_vec(), wrong: Mutex::new(vec![0; LOGINS.len()]) }
    }

    pub(crate) fn all(&self) -> &[User] {
        &self.all
    }

    /// The number of the person with this login. A name and an address that nobody has are told apart.
    pub(crate) fn find(&self, login: &str) -> Result<usize, Refusal> {
        let unknown = if login.contains('@') { 55 } else { 100 };
        self.all.iter().position(|user| user.login.eq_ignore_ascii_case(login)).ok_or(Refusal::new(unknown))
    }

    /// Who signs in by a page, or what the page says instead.
    pub(crate) fn sign_in(&self, form: &Form) -> Result<usize, &'static str> {
        const WRONG: &str = "The login or the password is not right.";
        let user = self.find(form.get("login").unwrap_or_default()).map_err(|_| WRONG)?;
        match self.check(user, form.get("password").unwrap_or_default()) {
            Ok(()) => Ok(user),
            Err(refusal) if refusal.code() == LOCKED => Err("This account is locked."),
            Err(_) => Err(WRONG),
        }
    }

    /// Whether the password is right. Nothing unlocks an account but a new sandbox.
    pub(crate) fn check(&self, number: usize, password: &str) -> Result<(), Refusal> {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if wrong[number] >= MOST_WRONG {
            return Err(Refusal::new(LOCKED));
        }
        if self.all[number].password != password {
            wrong[number] += 1;
            return Err(Refusal::new(5));
        }
        wrong[number] = 0;
        Ok(())
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("login", &self.login)
            .field("uuid", &self.uuid)
            .field("password", &"[redacted]")
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_password_forgives_the_wrong_ones_before_it() {
        let users = Users::new(&Seed::new(Some(1)).unwrap());
        let right = users.all()[0].password.clone();
        for _ in 0..3 {
            for _ in 0..4 {
                assert_eq!(users.check(0, "wrong").unwrap_err(), Refusal::new(5));
            }
            users.check(0, &right).unwrap();
        }
    }
}
