//! Verb: what a caller asked for, and what became of it.

use crate::config::Consistency;
use crate::error::ErrorKind;

/// Numbers that say what became of a call: 0 for ok, else the code of an error.
pub(super) const ENDINGS: usize = ErrorKind::ALL[ErrorKind::ALL.len() - 1].code() as usize + 1;

macro_rules! verbs {
    ($($variant:ident = $name:literal;)+) => {
        /// A verb of the store, as metrics tell it apart.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Verb {
            $($variant,)+
        }

        impl Verb {
            pub(super) const ALL: &'static [Verb] = &[$(Verb::$variant,)+];

            /// As it stands in the names of metrics.
            pub(super) const fn name(self) -> &'static str {
                match self {
                    $(Verb::$variant => $name,)+
                }
            }
        }
    };
}

verbs! {
    Put = "put";
    Get = "get";
    Delete = "delete";
    PutNew = "put_new";
    PutIf = "put_if";
    DeleteIf = "delete_if";
    Touch = "touch";
    Increment = "increment";
    PutMany = "put_many";
    DeleteMany = "delete_many";
    TouchMany = "touch_many";
    View = "view";
    Query = "query";
    DeleteWhere = "delete_where";
    Txn = "txn";
    Index = "index";
    Watch = "watch";
}

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Ok,
    NotFound,
    Failed(ErrorKind),
}

impl Ending {
    /// Of something that is done, or failed.
    pub(crate) fn of<T>(outcome: &Result<T, crate::error::Error>) -> Ending {
        match outcome {
            Ok(_) => Ending::Ok,
            Err(error) => Ending::of_kind(error.kind()),
        }
    }

    /// Of a read, which may find nothing.
    #[inline]
    pub(crate) fn of_read<T>(outcome: &Result<Option<T>, crate::error::Error>) -> Ending {
        match outcome {
            Ok(Some(_)) => Ending::Ok,
            Ok(None) => Ending::NotFound,
            Err(error) => Ending::of_kind(error.kind()),
        }
    }

    fn of_kind(kind: ErrorKind) -> Ending {
        if kind == ErrorKind::NotFound { Ending::NotFound } else { Ending::Failed(kind) }
    }

    /// 0 for ok, else the code of the error.
    pub(super) const fn number(self) -> usize {
        match self {
            Ending::Ok => 0,
            Ending::NotFound => ErrorKind::NotFound.code() as usize,
            Ending::Failed(kind) => kind.code() as usize,
        }
    }

    pub(super) const fn class(self) -> Class {
        match self {
            Ending::Ok => Class::Ok,
            Ending::NotFound => Class::NotFound,
            Ending::Failed(_) => Class::Error,
        }
    }
}

/// The name of an ending by its number; `None` for a code that is not given to any kind.
pub(super) fn ending_name(number: usize) -> Option<&'static str> {
    match number {
        0 => Some("ok"),
        code => ErrorKind::from_code(code as i32).map(ErrorKind::name),
    }
}

/// Endings as durations are told apart by: one series for each would be many, and failures of a kind are few.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Ok,
    NotFound,
    Error,
}

impl Class {
    pub(super) const ALL: [Class; 3] = [Class::Ok, Class::NotFound, Class::Error];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Class::Ok => "ok",
            Class::NotFound => "not_found",
            Class::Error => "error",
        }
    }
}

pub(super) const LEVELS: [Consistency; 3] = [Consistency::Eventual, Consistency::Leader, Consistency::Strong];

pub(super) const fn level_name(level: Consistency) -> &'static str {
    match level {
        Consistency::Eventual => "eventual",
        Consistency::Leader => "leader",
        Consistency::Strong => "strong",
    }
}
