"""LTX-2.5: LTX-2.3's encoder, and a decoder of attention among neighbours that takes one step of denoising."""
