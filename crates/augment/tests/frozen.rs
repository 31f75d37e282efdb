//! Digests of pixels that published numbers and caches depend on. Whoever moves one raises `augment::REVISION`.

use robustify_augment::{Corruption, Corruptor, Policy, Profile, RgbImage, Severity};
use robustify_rng::Key;

/// A picture with edges, a ramp and some texture, of up to 72 columns. It is frozen as well.
fn picture(width: u32, height: u32) -> RgbImage {
    let mut stream = Key::new(5, "picture").stream();
    RgbImage::from_fn(width, height, |x, y| {
        let texture = stream.below(40) as u8;
        let edge = if (x / 8 + y / 8) % 2 == 0 { 90 } else { 0 };
        image::Rgb([x as u8 * 3 + texture, 40 + edge + texture, 215 - (y as u8 * 3).min(170) + texture])
    })
}

/// FNV-1a of the pictures' levels.
fn digest(pictures: impl IntoIterator<Item = RgbImage>) -> u64 {
    let levels = pictures.into_iter().flat_map(RgbImage::into_raw);
    levels.fold(0xcbf2_9ce4_8422_2325, |sum, level| (sum ^ u64::from(level)).wrapping_mul(0x0100_0000_01b3))
}

/// The digest of a corruption under a profile, over its severities.
fn corrupted(corruptor: &Corruptor, corruption: Corruption, image: &RgbImage) -> u64 {
    digest(Severity::ALL.map(|severity| corruptor.apply(image, corruption, severity, Key::new(0, "frozen"))))
}

/// The digest of a policy's views of twenty samples.
fn viewed(policy: &Policy, image: &RgbImage) -> u64 {
    digest((0..20).map(|sample| policy.apply(image, Key::new(0, "frozen").with(sample))))
}

#[test]
fn corruptions_are_frozen() {
    let small = picture(32, 32);
    let odd = picture(61, 45);
    let columns = [
        (Profile::CifarC, &small),
        (Profile::ImagenetC, &odd),
        (Profile::Imagecorruptions, &odd),
        (Profile::Scaled, &odd),
    ]
    .map(|(profile, image)| (Corruptor::new(profile), image));
    let digests = |corruption| columns.each_ref().map(|(corruptor, image)| corrupted(corruptor, corruption, image));
    let got: Vec<_> = Corruption::every().map(|corruption| (corruption.name(), digests(corruption))).collect();
    assert_eq!(got.len(), CORRUPTIONS.len());
    let moved: Vec<_> =
        got.iter().zip(&CORRUPTIONS).filter(|(got, frozen)| got != frozen).map(|(got, _)| got).collect();
    assert!(moved.is_empty(), "a change here moves every published number, raise REVISION: {moved:#018x?}");
}

#[test]
fn views_are_frozen() {
    // More pixels than RandConv sums at a time.
    let image = picture(61, 75);
    let got = VIEWS.map(|(policy, _)| (policy, viewed(&policy.parse().unwrap(), &image)));
    let moved: Vec<_> = got.iter().zip(&VIEWS).filter(|(got, frozen)| got != frozen).map(|(got, _)| got).collect();
    assert!(moved.is_empty(), "a change here moves training, raise REVISION: {moved:#018x?}");
    assert_eq!(viewed(&Policy::default(), &picture(32, 32)), DEFAULT_VIEWS, "a change here moves training");
}

/// The default policy on 32x32 pixels.
const DEFAULT_VIEWS: u64 = 0xe882_14aa_b5d2_64e9;

/// Every step and every mixing set, by itself and in one chain, on 61x75 pixels.
const VIEWS: [(&str, u64); 18] = [
    ("augmix(severity=3)", 0x8568_6aa0_405e_5495),
    ("augmix(severity=10,width=2,depth=3,alpha=0.5,ops=all)", 0x1baa_302a_2298_4c50),
    ("rand_conv", 0xbaea_5295_5a93_da37),
    ("pixmix(set=ifs,pictures=4)", 0x0154_30a1_eab1_7636),
    ("pixmix(set=leaves,pictures=4)", 0x273b_14bb_6f05_4b86),
    ("pixmix(set=plasma,pictures=4)", 0xe5af_2d30_3658_5f32),
    ("pixmix(k=3,beta=4,severity=1,ops=all,set=mixed,pictures=4)", 0x18ed_6eec_f72b_4216),
    ("cutout", 0x8cf0_46e1_6db5_0f79),
    ("random_erasing(probability=1)", 0x444b_dfe9_112b_c906),
    ("random_erasing(probability=1,fill=mean)", 0xb08e_1b45_d5db_afcb),
    ("flip", 0xd1ed_6235_06f9_733d),
    ("random_resized_crop", 0x4e54_421a_595a_4fab),
    ("random_resized_crop(low=0.25,high=0.5,ratio=1.5,filter=bicubic)", 0x614b_24ce_6270_c5c8),
    ("random_resized_crop(filter=lanczos)", 0x0155_6f95_4087_abe8),
    ("random_resized_crop(filter=box)", 0xe2c1_c484_3117_fe43),
    ("random_resized_crop(filter=nearest)", 0xde1b_481e_7524_b547),
    ("colour_jitter(hue=0.1)", 0x04c0_1856_11fb_a026),
    (
        "flip+random_resized_crop+colour_jitter(hue=0.1)+rand_conv+augmix(severity=3)\
         +pixmix(set=mixed,pictures=4)+cutout+random_erasing",
        0x90d5_e715_ef29_6eb0,
    ),
];

/// `cifar-c` on 32x32 pixels; `imagenet-c`, `imagecorruptions` and `scaled` on 61x45.
#[rustfmt::skip]
const CORRUPTIONS: [(&str, [u64; 4]); 34] = [
    ("gaussian_noise", [0x00b7_b048_9b37_ec9a, 0xc504_6de4_fac4_324c, 0xc504_6de4_fac4_324c, 0xc504_6de4_fac4_324c]),
    ("shot_noise", [0x6db7_d3c8_73dc_7f37, 0x862b_a235_0491_6244, 0x862b_a235_0491_6244, 0x862b_a235_0491_6244]),
    ("impulse_noise", [0x5779_aaf9_7587_c85e, 0xcde9_f21e_97af_4818, 0xcde9_f21e_97af_4818, 0xcde9_f21e_97af_4818]),
    ("defocus_blur", [0x0fe1_e2bc_601d_e4e6, 0x7251_39bb_48ee_dd3e, 0x7251_39bb_48ee_dd3e, 0x7ad7_77ce_a2d0_8e63]),
    ("glass_blur", [0xa96d_b092_4d98_3682, 0xb586_bd17_08dd_9c24, 0xb586_bd17_08dd_9c24, 0x562b_5ee4_0de8_b4f7]),
    ("motion_blur", [0x0aa4_e711_baa7_7aa1, 0x28ba_54e5_8a81_561d, 0x9296_0b3c_c3df_b8b8, 0x7acf_6d38_95a0_39ea]),
    ("zoom_blur", [0xa1ef_f70a_2a17_f913, 0xdaae_c457_f123_3e08, 0xdaae_c457_f123_3e08, 0xdaae_c457_f123_3e08]),
    ("snow", [0x51dd_d59b_0824_835b, 0x7798_0093_c861_afb6, 0x491f_b9e8_e44d_8f0f, 0x448e_ed64_12a9_574e]),
    ("frost", [0x3d1e_af1b_ae56_bd01, 0x4275_f572_4b6c_e97b, 0x1f3a_c721_e5b6_1205, 0x415b_e10b_64a3_acb8]),
    ("fog", [0xcdbb_7ba3_240e_6bfe, 0xfa28_c932_c841_50dd, 0xfa28_c932_c841_50dd, 0xfa28_c932_c841_50dd]),
    ("brightness", [0x00c5_3abc_875f_e289, 0xf50e_8a99_fb36_b7ff, 0xf50e_8a99_fb36_b7ff, 0xf50e_8a99_fb36_b7ff]),
    ("contrast", [0xb0c8_4261_092b_c9a0, 0x4893_e224_557a_5a26, 0x4893_e224_557a_5a26, 0x4893_e224_557a_5a26]),
    ("elastic_transform", [0xc57a_3a28_530f_6f75, 0xca0d_a4cd_5b5e_168f, 0x69aa_70ed_3327_4059, 0x7d86_ff55_dde9_e3f3]),
    ("pixelate", [0x708f_bcd8_1884_e70e, 0x2bba_6145_b3df_7865, 0x2f31_065c_9cf3_f506, 0x1cca_e695_03c2_53c8]),
    ("jpeg_compression", [0x0bf9_19a2_f07e_506c, 0x6b76_fc6e_0fdd_e49d, 0x6b76_fc6e_0fdd_e49d, 0x6b76_fc6e_0fdd_e49d]),
    ("speckle_noise", [0x0e20_0e3f_ac6c_f792, 0x6e3f_68ce_af0f_5012, 0x6e3f_68ce_af0f_5012, 0x6e3f_68ce_af0f_5012]),
    ("gaussian_blur", [0x74fd_48d7_f265_dff6, 0x6031_730d_ae42_4e58, 0x6031_730d_ae42_4e58, 0x8ae4_25db_f56a_a152]),
    ("spatter", [0xcb07_5339_4d47_c399, 0x9e7a_8c4d_52f1_5d6c, 0x9e7a_8c4d_52f1_5d6c, 0x5027_2411_2f50_eb89]),
    ("saturate", [0x17a2_0623_817e_b58a, 0x03b5_e261_d4d2_5d0b, 0x03b5_e261_d4d2_5d0b, 0x03b5_e261_d4d2_5d0b]),
    ("caustic_refraction", [0x7893_7248_236c_13de, 0xff67_05f5_3133_bb97, 0xff67_05f5_3133_bb97, 0xff67_05f5_3133_bb97]),
    ("inverse_sparkles", [0x41fc_4b2a_9611_1183, 0xc3dc_297c_6b43_38cf, 0xc3dc_297c_6b43_38cf, 0xc3dc_297c_6b43_38cf]),
    ("sparkles", [0x9d83_d20d_6c12_f43c, 0x78cd_05ca_c76e_0f92, 0x78cd_05ca_c76e_0f92, 0x78cd_05ca_c76e_0f92]),
    ("perlin_noise", [0xbd41_58cc_8647_48cf, 0x9581_47c3_ea6a_cda5, 0x9581_47c3_ea6a_cda5, 0x9581_47c3_ea6a_cda5]),
    ("blue_noise_sample", [0x2220_d062_78f7_f810, 0x8380_07d3_35f2_2e03, 0x8380_07d3_35f2_2e03, 0x8380_07d3_35f2_2e03]),
    ("plasma_noise", [0xcb5f_b474_baef_e0f5, 0x28c8_f991_665b_cfd1, 0x28c8_f991_665b_cfd1, 0x28c8_f991_665b_cfd1]),
    ("checkerboard_cutout", [0x2290_9496_ac6a_efed, 0x6b07_080d_4f5b_bfd6, 0x6b07_080d_4f5b_bfd6, 0x6b07_080d_4f5b_bfd6]),
    ("cocentric_sine_waves", [0xdb6b_6df1_9736_ba09, 0x4d4c_dbe0_a639_8843, 0x4d4c_dbe0_a639_8843, 0x4d4c_dbe0_a639_8843]),
    ("single_frequency_greyscale", [0xc675_4b44_8abc_f989, 0xeeef_8e0a_2dae_5c9a, 0xeeef_8e0a_2dae_5c9a, 0xeeef_8e0a_2dae_5c9a]),
    ("brownish_noise", [0xe054_c1ff_65d8_4858, 0xa794_dcf8_5b8c_947b, 0xa794_dcf8_5b8c_947b, 0xa794_dcf8_5b8c_947b]),
    ("pinch_and_twirl", [0xbf96_4bd6_cf4c_f671, 0x668f_d5ee_4159_ee1f, 0x668f_d5ee_4159_ee1f, 0x668f_d5ee_4159_ee1f]),
    ("ripple", [0xbc7e_209d_d2c9_1325, 0xbe8d_7904_0439_7bbd, 0xbe8d_7904_0439_7bbd, 0xbe8d_7904_0439_7bbd]),
    ("circular_motion_blur", [0x1c3b_7731_8216_0e24, 0x78bf_6336_388c_05fa, 0x78bf_6336_388c_05fa, 0x78bf_6336_388c_05fa]),
    ("lines", [0xac7b_2a33_8279_ea41, 0x8142_21d8_e420_f4db, 0x8142_21d8_e420_f4db, 0x8142_21d8_e420_f4db]),
    ("transverse_chromatic_abberation", [0xb160_7378_c12a_2124, 0x6afc_c560_fa92_6069, 0x6afc_c560_fa92_6069, 0x6afc_c560_fa92_6069]),
];
