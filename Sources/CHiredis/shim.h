#pragma once
#include <hiredis/hiredis.h>
#include <hiredis/read.h>
#include <stdlib.h>

// A reader whose arrays have a bound. hiredis takes memory for as many elements as an array's header announces, before the
// first of them has come; whoever answers in Redis' place could ask for gigabytes with 13 bytes.
#define MARTLET_REPLY_ELEMENTS_MAX 65536

typedef struct martlet_reply_functions {
    redisReplyObjectFunctions functions;
    void *(*create_array)(const redisReadTask *, int);
} martlet_reply_functions;

static inline void *martlet_create_array(const redisReadTask *task, int elements) {
    if (elements > MARTLET_REPLY_ELEMENTS_MAX) return NULL;
    return ((martlet_reply_functions *)task->privdata)->create_array(task, elements);
}

static inline redisReader *martlet_reader_create(void) {
    redisReader *reader = redisReaderCreate();
    martlet_reply_functions *own = (martlet_reply_functions *)malloc(sizeof *own);
    if (reader == NULL || own == NULL) {
        if (reader != NULL) redisReaderFree(reader);
        free(own);
        return NULL;
    }
    own->functions = *reader->fn;
    own->create_array = own->functions.createArray;
    own->functions.createArray = martlet_create_array;
    reader->fn = &own->functions;
    reader->privdata = own;
    return reader;
}

static inline void martlet_reader_free(redisReader *reader) {
    void *own = reader->privdata;
    redisReaderFree(reader);
    free(own);
}
