#pragma once

/// By what this test program was compiled: GCC and clang say it differently.
#if defined(__SANITIZE_THREAD__)
#define FERRY_TEST_BY_TSAN 1
#elif defined(__SANITIZE_ADDRESS__)
#define FERRY_TEST_BY_ASAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FERRY_TEST_BY_TSAN 1
#elif __has_feature(address_sanitizer)
#define FERRY_TEST_BY_ASAN 1
#endif
#endif

#if defined(FERRY_TEST_BY_TSAN) || defined(FERRY_TEST_BY_ASAN)
#define FERRY_TEST_SANITIZED 1
#endif
