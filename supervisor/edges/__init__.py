"""One kernel interface or one library each. An edge translates: plain values in, plain values out, errors into ours."""
