# Writes configs/schema.json, which editors read beside the configs, from the declared fields: run after each build of the
# program, so that no name (of a criterion, say) has to be written down twice. -DPROGRAM=espalier -DFILE=configs/schema.json
execute_process(COMMAND ${PROGRAM} help schema OUTPUT_VARIABLE schema COMMAND_ERROR_IS_FATAL ANY)
if(EXISTS ${FILE})
  file(READ ${FILE} before)
  if(before STREQUAL schema)
    return()
  endif()
endif()
file(WRITE ${FILE}.new "${schema}")
file(RENAME ${FILE}.new ${FILE})
