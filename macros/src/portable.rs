//! The code behind `#[derive(Portable)]`.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{
    Data, DataEnum, DeriveInput, Fields, GenericArgument, GenericParam, Generics, Ident, Lifetime, LitStr,
    Path, Result, Type, parse_quote,
};

/// Writes the impl.
pub(crate) fn expand(item: &DeriveInput) -> Result<TokenStream> {
    let krate = crate_path(item)?;
    let codec = quote!(#krate::codec);
    let body = match &item.data {
        Data::Struct(data) => of_struct(&item.ident, &data.fields, &codec),
        Data::Enum(data) => of_enum(&item.ident, data, &codec),
        Data::Union(data) => {
            return Err(syn::Error::new(
                data.union_token.span,
                "a union cannot be `Portable`: its bytes do not say which of its fields is there",
            ));
        }
    };
    Ok(implement(item, &codec, &body))
}

/// What differs between structs and enums.
struct Body {
    min_bytes: TokenStream,
    encode: TokenStream,
    decode: TokenStream,
}

fn crate_path(item: &DeriveInput) -> Result<Path> {
    let mut path = parse_quote!(::ringfence);
    for attribute in item.attrs.iter().filter(|attribute| attribute.path().is_ident("portable")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("crate") {
                return Err(meta.error("unknown option, expected `crate = \"path\"`"));
            }
            path = meta.value()?.parse::<LitStr>()?.parse()?;
            Ok(())
        })?;
    }
    Ok(path)
}

fn implement(item: &DeriveInput, codec: &TokenStream, body: &Body) -> TokenStream {
    let name = &item.ident;
    let inner = Lifetime::new("'__ringfence", Span::mixed_site());
    let generics = with_bounds(item.generics.clone(), codec);
    let (parameters, arguments, bounds) = generics.split_for_impl();
    let inside = arguments_inside(&item.generics, &inner);
    let Body { min_bytes, encode, decode } = body;
    quote! {
        #[automatically_derived]
        impl #parameters #codec::Portable for #name #arguments #bounds {
            type Inside<#inner> = #name #inside;
            const MIN_BYTES: usize = #min_bytes;

            #[inline]
            fn encode(
                &self,
                out: &mut #codec::Encoder<'_>,
            ) -> ::core::result::Result<(), #codec::EncodeError> {
                #encode
            }

            #[inline]
            fn decode<#inner>(
                input: &mut #codec::Decoder<#inner>,
            ) -> ::core::result::Result<Self::Inside<#inner>, #codec::DecodeError> {
                #decode
            }
        }
    }
}

fn with_bounds(mut generics: Generics, codec: &TokenStream) -> Generics {
    for parameter in generics.type_params_mut() {
        parameter.bounds.push(parse_quote!(#codec::Owned));
    }
    generics
}

/// The type's own arguments, with `inner` for each lifetime.
fn arguments_inside(generics: &Generics, inner: &Lifetime) -> TokenStream {
    let arguments = generics.params.iter().map(|parameter| -> GenericArgument {
        match parameter {
            GenericParam::Lifetime(_) => GenericArgument::Lifetime(inner.clone()),
            GenericParam::Type(parameter) => {
                let name = &parameter.ident;
                parse_quote!(#name)
            }
            GenericParam::Const(parameter) => {
                let name = &parameter.ident;
                parse_quote!(#name)
            }
        }
    });
    quote!(<#(#arguments),*>)
}

fn of_struct(name: &Ident, fields: &Fields, codec: &TokenStream) -> Body {
    let bindings = bindings(fields);
    let pattern = with_names(fields, &bindings);
    let writes = writes(fields, &bindings, codec);
    let value = with_values(fields, codec);
    if fields.is_empty() {
        return Body {
            min_bytes: quote!(0),
            encode: quote!(let _ = out; ::core::result::Result::Ok(())),
            decode: quote!(let _ = input; ::core::result::Result::Ok(#name #value)),
        };
    }
    Body {
        min_bytes: sum_min_bytes(fields, codec),
        encode: quote! {
            let #name #pattern = self;
            out.nested(|out| {
                #writes
                ::core::result::Result::Ok(())
            })
        },
        decode: quote!(input.nested(|input| ::core::result::Result::Ok(#name #value))),
    }
}

fn of_enum(name: &Ident, data: &DataEnum, codec: &TokenStream) -> Body {
    let label = name.to_string();
    let numbered = || data.variants.iter().zip(0_u32..);
    let encode_arms = numbered().map(|(variant, index)| {
        let variant_name = &variant.ident;
        let bindings = bindings(&variant.fields);
        let pattern = with_names(&variant.fields, &bindings);
        let writes = writes(&variant.fields, &bindings, codec);
        quote! {
            #name::#variant_name #pattern => {
                <u32 as #codec::Portable>::encode(&#index, out)?;
                #writes
            }
        }
    });
    let decode_arms = numbered().map(|(variant, index)| {
        let variant_name = &variant.ident;
        let value = with_values(&variant.fields, codec);
        quote!(#index => ::core::result::Result::Ok(#name::#variant_name #value),)
    });
    let encode = if data.variants.is_empty() {
        quote!(let _ = out; match *self {})
    } else {
        quote! {
            out.nested(|out| {
                match self { #(#encode_arms)* }
                ::core::result::Result::Ok(())
            })
        }
    };
    Body {
        min_bytes: quote!(4),
        encode,
        decode: quote! {
            input.nested(|input| match <u32 as #codec::Portable>::decode(input)? {
                #(#decode_arms)*
                _ => ::core::result::Result::Err(#codec::DecodeError::invalid_discriminant(#label)),
            })
        },
    }
}

/// One local name per field.
fn bindings(fields: &Fields) -> Vec<Ident> {
    (0..fields.len()).map(|index| format_ident!("field_{index}", span = Span::mixed_site())).collect()
}

/// `{ a: field_0 }`, `(field_0)` or nothing.
fn with_names(fields: &Fields, values: &[Ident]) -> TokenStream {
    with_each(fields, values.iter())
}

/// The same, each field decoded in its place.
fn with_values(fields: &Fields, codec: &TokenStream) -> TokenStream {
    with_each(
        fields,
        fields.iter().map(|field| {
            let portable = portable(&field.ty, codec);
            quote_spanned!(place(&field.ty)=> #portable::decode(input)?)
        }),
    )
}

fn with_each<T: ToTokens>(fields: &Fields, values: impl Iterator<Item = T>) -> TokenStream {
    match fields {
        Fields::Named(fields) => {
            let names = fields.named.iter().map(|field| &field.ident);
            quote!({ #(#names: #values),* })
        }
        Fields::Unnamed(_) => quote!((#(#values),*)),
        Fields::Unit => TokenStream::new(),
    }
}

fn writes(fields: &Fields, bindings: &[Ident], codec: &TokenStream) -> TokenStream {
    let writes = fields.iter().zip(bindings).map(|(field, binding)| {
        let portable = portable(&field.ty, codec);
        quote_spanned!(place(&field.ty)=> #portable::encode(#binding, out)?;)
    });
    quote!(#(#writes)*)
}

fn sum_min_bytes(fields: &Fields, codec: &TokenStream) -> TokenStream {
    let sizes = fields.iter().map(|field| {
        let portable = portable(&field.ty, codec);
        quote_spanned!(place(&field.ty)=> .saturating_add(#portable::MIN_BYTES))
    });
    quote!(0_usize #(#sizes)*)
}

/// `<Field as Portable>`, at the field's place in the source: that is where a missing impl is reported.
fn portable(field: &Type, codec: &TokenStream) -> TokenStream {
    quote_spanned!(place(field)=> <#field as #codec::Portable>)
}

/// Where the field's type stands, but with the names in scope where the derive is.
fn place(field: &Type) -> Span {
    field.span().resolved_at(Span::call_site())
}
