raise ImportError("not installed, says this test")
