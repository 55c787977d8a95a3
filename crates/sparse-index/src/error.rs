/// What can go wrong here; a message names the thing and the values that disagree.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A parameter lies outside of what it can be.
    #[error("{name} is {value}, but must be {must}")]
    Parameter {
        /// Its name in the API.
        name: &'static str,
        /// What was given.
        value: String,
        /// What it can be.
        must: &'static str,
    },
}
