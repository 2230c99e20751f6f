//! Embeddings, and how far they are apart.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use counterfoil_receipt::{
    json::{Data, Value},
    statement::Decimal,
};

/// Digits after the point of a distance. Embeddings are float32, which has 7 digits.
const DIGITS: usize = 12;

/// Reads the member `data` of OpenAI's embeddings: a list of objects, each with `embedding`, numbers or base64 of float32 in
/// little-endian order, and its `index`.
///
/// # Errors
/// What is wrong with it, in words.
pub fn parse(data: &Value<'_>) -> Result<Vec<Vec<f64>>, &'static str> {
    let items = data.items().ok_or("data is no list")?;
    let mut vectors: Vec<Option<Vec<f64>>> = vec![None; items.len()];
    for (position, item) in items.iter().enumerate() {
        let index = match item.member("index") {
            Some(index) => index.integer().and_then(|index| usize::try_from(index).ok()),
            None => Some(position),
        };
        let place = index.and_then(|index| vectors.get_mut(index)).ok_or("an index is none of the list")?;
        let embedding = item.member("embedding").ok_or("an item has no embedding")?;
        if place.replace(vector(embedding)?).is_some() {
            return Err("two items have one index");
        }
    }
    // As many items as places, each in another one.
    Ok(vectors.into_iter().flatten().collect())
}

fn vector(embedding: &Value<'_>) -> Result<Vec<f64>, &'static str> {
    let numbers: Option<Vec<f64>> = match embedding.data() {
        Data::Array(items) => {
            let number = |item: &Value<'_>| match item.data() {
                Data::Number => item.raw().parse().ok(),
                _ => None,
            };
            items.iter().map(number).collect()
        }
        Data::String(text) => {
            let bytes = BASE64.decode(text.as_bytes()).map_err(|_| "an embedding is not base64")?;
            let (floats, rest) = bytes.as_chunks();
            if !rest.is_empty() {
                return Err("an embedding does not have 4 bytes for each number");
            }
            Some(floats.iter().map(|float| f32::from_le_bytes(*float).into()).collect())
        }
        _ => return Err("an embedding is neither a list nor base64"),
    };
    let numbers = numbers.ok_or("an embedding has an item that is no number")?;
    if numbers.is_empty() {
        return Err("an embedding is empty");
    }
    if !numbers.iter().all(|number| number.is_finite()) {
        return Err("an embedding has a number that is none");
    }
    Ok(numbers)
}

/// The distance of two vectors of one width: the length of their difference, as a part of the longer one's. From 0 for the
/// same to 2 for opposites. Where both have length 1, a distance d is a cosine of 1 - d²/2.
pub fn distance(a: &[f64], b: &[f64]) -> f64 {
    // Scaled first, so that no square overflows or vanishes.
    let scale = a.iter().chain(b).fold(0.0_f64, |most, number| most.max(number.abs()));
    if scale == 0.0 {
        return 0.0;
    }
    let length =
        |numbers: &mut dyn Iterator<Item = f64>| numbers.map(|number| number * number).sum::<f64>().sqrt();
    let longer = length(&mut a.iter().map(|number| number / scale))
        .max(length(&mut b.iter().map(|number| number / scale)));
    length(&mut a.iter().zip(b).map(|(a, b)| a / scale - b / scale)) / longer
}

/// Which of the vectors is farthest from the one in its place, and how far. The distance is rounded as it is written, and
/// what is written decides.
pub fn farthest(recorded: &[Vec<f64>], again: &[Vec<f64>]) -> (usize, Decimal) {
    let distances = recorded.iter().zip(again).map(|(a, b)| distance(a, b)).enumerate();
    let (nth, most) = distances.fold((0, 0.0), |most, one| if one.1 > most.1 { one } else { most });
    let text = format!("{most:.DIGITS$}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    (nth, text.parse().expect("at most 2, with so many digits, is a decimal"))
}

/// A decimal as a number.
pub fn number(decimal: &Decimal) -> f64 {
    decimal.as_str().parse().expect("digits are a number")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(json: &str) -> Result<Vec<Vec<f64>>, &'static str> {
        parse(&Value::parse(json.as_bytes()).unwrap())
    }

    #[test]
    fn both_encodings_say_the_same_in_any_order() {
        let plain = read(r#"[{"index":1,"embedding":[0.5,-2]},{"index":0,"embedding":[1,3e0]}]"#).unwrap();
        assert_eq!(plain, [[1.0, 3.0], [0.5, -2.0]]);
        let bytes: Vec<u8> = [0.5_f32, -2.0].iter().flat_map(|float| float.to_le_bytes()).collect();
        let encoded = format!(r#"[{{"embedding":[1,3]}},{{"embedding":"{}"}}]"#, BASE64.encode(bytes));
        assert_eq!(read(&encoded).unwrap(), plain);
        assert_eq!(read("[]").unwrap(), Vec::<Vec<f64>>::new());
    }

    #[test]
    fn what_is_no_embedding_is_named() {
        for (json, what) in [
            ("{}", "no list"),
            ("[1]", "no embedding"),
            (r#"[{"embedding":null}]"#, "neither"),
            (r#"[{"embedding":[]}]"#, "empty"),
            (r#"[{"embedding":""}]"#, "empty"),
            (r#"[{"embedding":["1"]}]"#, "no number"),
            (r#"[{"embedding":[1e999]}]"#, "that is none"),
            (r#"[{"embedding":"AADAfw=="}]"#, "that is none"),
            (r#"[{"embedding":"AAAA"}]"#, "4 bytes"),
            (r#"[{"embedding":"!"}]"#, "not base64"),
            (r#"[{"embedding":[1],"index":1}]"#, "none of the list"),
            (r#"[{"embedding":[1],"index":-1}]"#, "none of the list"),
            (r#"[{"embedding":[1],"index":0},{"embedding":[1],"index":0}]"#, "one index"),
        ] {
            assert!(read(json).is_err_and(|error| error.contains(what)), "{json}: {:?}", read(json));
        }
    }

    #[test]
    fn distances_that_are_known() {
        let cases: [(&[f64], &[f64], f64); 7] = [
            (&[0.0, 0.0], &[0.0, 0.0], 0.0),
            (&[0.0, 0.0], &[0.0, 1.0], 1.0),
            (&[3.0, 4.0], &[-3.0, -4.0], 2.0),
            (&[1.0, 0.0], &[0.0, 1.0], 2.0_f64.sqrt()),
            (&[2.0, 0.0], &[4.0, 0.0], 0.5),
            (&[1e300, 0.0], &[0.0, 1e300], 2.0_f64.sqrt()),
            (&[1e-300, 0.0], &[0.0, 1e-300], 2.0_f64.sqrt()),
        ];
        for (a, b, due) in cases {
            assert!((distance(a, b) - due).abs() < 1e-12, "{a:?} {b:?}: {}", distance(a, b));
        }
        let far = farthest(&[vec![1.0], vec![1.0], vec![1.0]], &[vec![1.0], vec![0.5], vec![0.75]]);
        assert_eq!(far, (1, "0.5".parse().unwrap()));
        assert_eq!(farthest(&[vec![1.0]], &[vec![1.0]]), (0, "0".parse().unwrap()));
    }

    fn any_vector() -> impl Strategy<Value = Vec<f64>> {
        proptest::collection::vec(
            prop_oneof![
                -1e3..1e3_f64,
                any::<f32>().prop_filter("finite", |it| it.is_finite()).prop_map(f64::from)
            ],
            4,
        )
    }

    proptest! {
        /// A vector is at no distance from itself and at some from any other, the same both ways, whatever unit is used.
        #[test]
        fn it_is_a_distance(a in any_vector(), b in any_vector()) {
            prop_assert_eq!(distance(&a, &a), 0.0);
            let there = distance(&a, &b);
            prop_assert_eq!(there, distance(&b, &a));
            prop_assert!((0.0..=2.0 + 1e-12).contains(&there), "{}", there);
            prop_assert_eq!(there == 0.0, a == b);
            let doubled = |vector: &[f64]| vector.iter().map(|it| it * 2.0).collect::<Vec<_>>();
            prop_assert!((distance(&doubled(&a), &doubled(&b)) - there).abs() < 1e-9);
        }
    }
}
