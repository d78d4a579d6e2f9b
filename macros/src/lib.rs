//! The derive of ringfence. The `ringfence` facade re-exports them; depend on that.

mod portable;

use proc_macro::TokenStream;

/// Implements `Portable` for a struct or an enum, so that its values can cross into an isolate.
///
/// Fields are encoded in the order they are declared; an enum starts with the index of its variant, a `u32`.
/// Every field must be `Portable`; type parameters must be owned. A type with lifetimes arrives as itself
/// with the lifetime of the inbound copy, which its borrowed fields (`&str`, `&[u8]`) then point into; such a
/// type can be an argument, not a result.
///
/// `#[portable(crate = "path")]` names the crate the traits are in, if it is not `::ringfence`.
///
/// A `union` is refused: its bytes do not say which of its fields is there.
#[proc_macro_derive(Portable, attributes(portable))]
pub fn derive_portable(item: TokenStream) -> TokenStream {
    let item = syn::parse_macro_input!(item as syn::DeriveInput);
    portable::expand(&item).unwrap_or_else(|error| error.to_compile_error()).into()
}
