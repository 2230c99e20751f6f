//! Rules: who may write into the log. The first record of every log is one.

use crate::{
    code::codes,
    json::{
        field::{FieldError, Object},
        write::{self, ObjectWriter},
    },
    key::PublicKey,
};

/// Most registrars that rules can name.
pub const REGISTRARS_MAX: usize = 64;

codes! {
    /// Who may write.
    Mode {
        /// Everybody.
        Open = "open",
        /// Whoever has a key record that a registrar signed.
        Registered = "registered",
    }
}

/// What a `rules` record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Who may write.
    pub mode: Mode,
    /// The keys whose holders register others.
    pub registrars: Vec<PublicKey>,
    /// The log's operator: signs rules, clock records, refusals, and erasures that nobody else ordered.
    pub operator: PublicKey,
}

impl Rules {
    pub(super) fn read(members: &mut Object<'_, '_>) -> Result<Self, FieldError> {
        let mode = members.required("mode")?.code(Mode::CODES)?;
        let list = members.required("registrars")?;
        let registrars = list.items(REGISTRARS_MAX)?.map(|item| item.parse()).collect::<Result<_, _>>()?;
        let operator = members.required("operator")?.parse()?;
        Ok(Self { mode, registrars, operator })
    }

    pub(super) fn write(&self, members: &mut ObjectWriter<'_>) {
        members.string("mode", self.mode.as_str());
        write::array(members.member("registrars"), &self.registrars, |out, key| {
            write::string(out, key.as_str());
        });
        members.string("operator", self.operator.as_str());
    }
}
